"""Verification through aliases, of roots that do not answer, and of what is no entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import publish, verify
from tests.helpers.zoos import ENTRY, STUB, WEIGHTS, Ranged, flip, model_files, python_server

OLD = STUB.replace("pruned80", "pruned95")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish(model_files(tmp_path / "run", size=2000), STUB, tmp_path / "zoo")
    return tmp_path / "zoo"


def test_an_entry_that_an_alias_leads_to_is_read_where_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with python_server(root / ENTRY, Ranged) as port:
        (tmp_path / "zoo.yaml").write_text(f"aliases: {{'{OLD}': 'http://127.0.0.1:{port}'}}")
        monkeypatch.setenv("SPARSIFY_CONFIG", str(tmp_path / "zoo.yaml"))
        (checked,) = verify(OLD)
        assert checked.problems == ()
        assert checked.files > 3
        flip(root / ENTRY / WEIGHTS)
        (checked,) = verify(OLD)
        assert checked.problems == (f"http://127.0.0.1:{port}/{WEIGHTS}: its sha256 is not the manifest's",)


def test_a_root_that_does_not_answer_is_not_all_right() -> None:
    with pytest.raises(ZooUnreachable, match=r"127\.0\.0\.1:9"):
        verify("http://127.0.0.1:9/zoo")


def test_a_folder_without_an_entry_is_told_as_such(root: Path) -> None:
    empty = STUB.replace("tiny-x", "tiny-y")
    (root / empty.removeprefix("zoo:")).mkdir(parents=True)
    by_stub = {checked.stub: checked for checked in verify(root)}
    assert by_stub[STUB].problems == ()
    assert by_stub[empty].problems == ("no recipe and no model in this folder",)


def test_every_kind_of_damage_is_named(root: Path) -> None:
    entry = root / ENTRY
    flip(entry / "recipe.yaml")
    (entry / "training" / "config.json").unlink()
    with (entry / WEIGHTS).open("ab") as out:
        out.write(b"x")
    (entry / "training" / "left.txt").write_text("")
    (checked,) = verify(root)
    assert len(checked.problems) == 3
    for name in ("recipe.yaml", "training/config.json", WEIGHTS):
        assert sum(f"{ENTRY}/{name}" in problem for problem in checked.problems) == 1
    assert checked.notes == ("training/left.txt: not in the manifest",)


def test_one_entry_that_cannot_be_read_does_not_hide_the_others(root: Path, tmp_path: Path) -> None:
    other = STUB.replace("tiny-x", "tiny-a")
    publish(tmp_path / "run", other, root)
    (root / other.removeprefix("zoo:") / "manifest.json").write_text("{")
    bad, good = verify(root)
    assert "not JSON" in bad.problems[0]
    assert good.problems == ()


def test_no_such_root(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="none: no such folder"):
        verify(tmp_path / "none")
