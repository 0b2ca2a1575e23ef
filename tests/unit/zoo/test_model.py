"""``Model``: copies of folders that hold links, and entries that lack a part."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo import Model, entries, resolve
from sparsify.zoo.model import copied
from sparsify.zoo.registry import packaged, resolve_model
from sparsify.zoo.roots import FolderRoot
from tests.helpers.zoos import ENTRY, STUB, model_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_files(tmp_path / "model" / "training", size=100)
    return tmp_path / "model"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_links_are_neither_gone_round_in_nor_followed_out(folder: Path, tmp_path: Path) -> None:
    (folder / "training" / "loop").symlink_to(".")
    (folder / "training" / "near.json").symlink_to("config.json")
    out = copied(folder / "training", tmp_path / "out")
    assert "loop" not in files(out)
    assert (out / "near.json").read_text() == "{}"
    assert not (out / "near.json").is_symlink()
    (tmp_path / "secret").write_text("secret")
    (folder / "training" / "evil.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ZooError, match="leads out of"):
        copied(folder / "training", tmp_path / "other")


def test_a_copy_into_the_folder_itself_ends(folder: Path) -> None:
    out = copied(folder, folder / "training" / "copy")
    assert "training/config.json" in files(out)
    assert "training/copy" not in files(out)


def test_a_copy_keeps_what_else_lies_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    model = Model(folder, download_path=tmp_path / "out")
    assert model.download() == tmp_path / "out"
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "out" / "training" / "config.json").is_file()


def test_a_target_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=f"{tmp_path / 'file'}.*"):
        Model(folder, download_path=tmp_path / "file").download()


def test_recipes_by_name_and_a_default_that_is_not_there(folder: Path) -> None:
    for name in ("recipe_a.yaml", "recipe_b.yaml"):
        (folder / name).write_text("modifiers: []\n")
    model = Model(folder)
    found = model.recipes.get_recipe_by_name("recipe_a.yaml")
    assert found is not None
    assert found.path == str(folder / "recipe_a.yaml")
    assert model.recipes.get_recipe_by_name("../recipe_a.yaml") is None
    assert [recipe.name for recipe in model.recipes.recipes] == ["recipe_a.yaml", "recipe_b.yaml"]
    with pytest.raises(
        ZooError, match=r"no recipe\.yaml; in it: recipe_a\.yaml, recipe_b\.yaml \(\?recipe=NAME chooses\)"
    ):
        _ = model.recipes.default


def test_a_root_with_the_checkpoint_is_found_behind_one_with_an_archive(tmp_path: Path) -> None:
    first, second = tmp_path / "1" / ENTRY, tmp_path / "2" / ENTRY / "training" / "postqat"
    for place in (first, second):
        place.mkdir(parents=True)
    (second / "config.json").write_text("{}")
    with tarfile.open(first / "training.tar.gz", "w:gz") as tar:
        tar.add(second, "training")
    from sparsify.zoo.settings import using

    with using([tmp_path / "1", tmp_path / "2"]):
        assert resolve_model(f"{STUB}?checkpoint=postqat") == second
        assert resolve_model(STUB).is_relative_to(tmp_path / "cache")


def test_a_broken_index_hides_no_other_entries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sparsify.zoo.filesystem import Remote

    url = f"memory://{tmp_path.name}"
    Remote(url, {}).write(b"<html>", "index.json")
    with pytest.raises(ZooError, match=rf"(?s)no entry found for {STUB}.*not all entries could be listed: .*not JSON"):
        resolve(STUB, zoo=[url])
    monkeypatch.setenv("SPARSIFY_ZOO", url)
    with caplog.at_level("WARNING", "sparsify"):
        assert set(entries()) >= set(FolderRoot(packaged()).stubs()) != set()
    assert "index.json: not JSON" in caplog.text
