"""Publishing that is interrupted, and what lies where an entry goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo import publish, resolve
from sparsify.zoo import publishing as module
from sparsify.zoo.collect import collect
from sparsify.zoo.filesystem import Remote
from sparsify.zoo.manifest import record
from tests.helpers.zoos import ENTRY, RECIPE, STUB, WEIGHTS, model_files


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return model_files(tmp_path / "run", size=1000)


def test_an_entry_that_cannot_be_replaced_stays(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "zoo"
    publish(run, STUB, root)
    old, real = record(root / ENTRY / WEIGHTS), os.replace

    def failing(source: str | Path, target: str | Path) -> None:
        if Path(source).name == "new":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(module.os, "replace", failing)
    with pytest.raises(ZooError, match="No space left"):
        publish(model_files(run, size=1000, seed=1), STUB, root, replace=True)
    monkeypatch.undo()
    assert record(root / ENTRY / WEIGHTS) == old
    assert not [path.name for path in root.iterdir() if path.name.startswith(".publishing")]


def test_files_that_change_meanwhile_are_not_published(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.shutil.copyfile

    def meddling(source: Path, target: Path) -> None:
        real(source, target)
        Path(target).write_bytes(b"other")

    monkeypatch.setattr(module.shutil, "copyfile", meddling)
    with pytest.raises(ZooError, match="changed while it was published; publish again"):
        publish(run, STUB, tmp_path / "zoo")
    assert not (tmp_path / "zoo" / ENTRY).exists()


def test_files_in_a_store_without_a_manifest_are_not_written_over(run: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    remote = Remote(url, {})
    remote.write(b"# mine", f"{ENTRY}/recipe.yaml")
    with pytest.raises(ZooError, match="already; --replace"):
        publish(run, STUB, url)
    assert remote.read(f"{ENTRY}/recipe.yaml", 100) == b"# mine"
    publish(run, STUB, url, replace=True)
    assert remote.read(f"{ENTRY}/recipe.yaml", 100).decode() == RECIPE
    assert json.loads(remote.read("index.json", 1000))["stubs"] == [STUB]


def test_stubs_that_cannot_be_published(run: Path, tmp_path: Path) -> None:
    for stub, words in ((f"{STUB}?recipe=x", "under its stub alone, without '\\?'"), ("zoo:a/b", "it has 2 segments")):
        with pytest.raises(ZooError, match=words):
            publish(run, stub, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_a_short_stub_lies_at_the_top(run: Path, tmp_path: Path) -> None:
    publish(run, "zoo:opt-1.3b-c4-pruned50", tmp_path / "zoo")
    assert resolve("zoo:opt-1.3b-c4-pruned50", zoo=[tmp_path / "zoo"]).recipe().read_text() == RECIPE
    assert json.loads((tmp_path / "zoo" / "index.json").read_text())["stubs"] == ["zoo:opt-1.3b-c4-pruned50"]


@pytest.mark.parametrize("kind", ["dangling", "loop", "pipe"])
def test_what_is_no_file_is_named(kind: str, run: Path) -> None:
    odd = run / "extra.json"
    if kind == "pipe":
        os.mkfifo(odd)  # reading it would wait for ever
    else:
        odd.symlink_to("gone.json" if kind == "dangling" else "extra.json")
    with pytest.raises(ZooError, match=r"extra\.json: no plain file"):
        collect(run)


def test_what_is_published_and_what_is_left_out(run: Path) -> None:
    for name in (
        ".git/config",
        "checkpoint-5/model.safetensors",
        "README.md",
        "run.py",
        "all_results.json",
        "vocab.txt",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("")
    found = collect(run)
    assert {"README.md", "recipe.yaml", "training/recipe.yaml", "training/vocab.txt", "deployment/model.onnx"} <= set(
        found.files
    )
    assert found.skipped == ["all_results.json", "optimizer.pt", "run.py"]
    assert not any("checkpoint" in name or "git" in name or name == "training/README.md" for name in found.files)


def test_a_link_out_of_the_folder_is_not_published(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("secret")
    (run / "extra.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ZooError, match="leads out of"):
        collect(run)
