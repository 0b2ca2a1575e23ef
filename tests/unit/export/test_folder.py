"""Tests of sparsify.export.folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sparsify.errors import InputError
from sparsify.export import folder
from sparsify.export.folder import replaced_folder

MARKER = "report.json"


def write(target: Path, text: str) -> None:
    with replaced_folder(target, marker=MARKER) as work:
        (work / "model.onnx").write_text(text)
        (work / MARKER).write_text(json.dumps({"files": {"model.onnx": 1}}))


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(folder, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("swap")
def test_creates_then_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "deployment"
    write(target, "one")
    write(target, "two")
    assert (target / "model.onnx").read_text() == "two"
    assert names(target.parent) == ["deployment"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.usefixtures("swap")
def test_a_failure_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "deployment"
    write(target, "one")
    with pytest.raises(error), replaced_folder(target, marker=MARKER) as work:
        (work / "model.onnx").write_text("half")
        raise error
    assert (target / "model.onnx").read_text() == "one"
    assert names(tmp_path) == ["deployment"]


def test_a_failure_of_the_second_rename_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "deployment"
    write(target, "one")
    monkeypatch.setattr(folder, "_exchange", lambda one, other: False)
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if ".new-" in self.name:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        write(target, "two")
    assert (target / "model.onnx").read_text() == "one"


def test_what_a_user_added_is_carried_over(tmp_path: Path) -> None:
    target = tmp_path / "deployment"
    write(target, "one")
    (target / "notes.md").write_text("mine")
    (target / "folder").mkdir()
    (target / "folder" / "deep.txt").write_text("mine too")
    write(target, "two")
    assert names(target) == ["folder", "model.onnx", "notes.md", MARKER]
    assert (target / "folder" / "deep.txt").read_text() == "mine too"


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(InputError, match=r"photos.*no report\.json"):
        write(tmp_path / "photos", "one")
    assert names(tmp_path / "photos") == ["a.jpg"]
    assert names(tmp_path) == ["photos"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "one")
    assert (tmp_path / "empty" / "model.onnx").is_file()


@pytest.mark.parametrize("target", ["file", "file/inside"])
def test_an_unusable_place_is_a_clear_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="--output_dir"):
        write(tmp_path / target, "one")


def test_leftovers_of_a_killed_process_are_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_alive", lambda pid: pid == "1")
    target = tmp_path / "deployment"
    write(target, "one")
    target.rename(tmp_path / ".deployment.old-999")
    (tmp_path / ".deployment.new-999-x").mkdir()
    (tmp_path / ".deployment.new-1-x").mkdir()
    with pytest.raises(RuntimeError), replaced_folder(target, marker=MARKER):
        raise RuntimeError
    assert (target / "model.onnx").read_text() == "one"
    assert names(tmp_path) == [".deployment.new-1-x", "deployment"]


def test_names_with_brackets_are_put_right_too(tmp_path: Path) -> None:
    target = tmp_path / "model[1]"
    write(target, "one")
    target.rename(tmp_path / ".model[1].old-99999999")
    with pytest.raises(RuntimeError), replaced_folder(target, marker=MARKER):
        raise RuntimeError
    assert names(tmp_path) == ["model[1]"]


@pytest.mark.usefixtures("swap")
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    for text in ("one", "two"):
        write(tmp_path / "link", text)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "real" / "model.onnx").read_text() == "two"
    assert (names(tmp_path), names(tmp_path / "disk")) == (["disk", "link"], ["real"])


def test_links_that_a_user_put_there_stay_links(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "deployment", "one")
    (tmp_path / "deployment" / "samples").symlink_to(Path("..") / "data")
    write(tmp_path / "deployment", "two")
    assert (tmp_path / "deployment" / "samples").is_symlink()
    assert (tmp_path / "deployment" / "samples").resolve() == tmp_path / "data"


def test_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is the current folder.*--output_dir"):
        write(Path(), "one")
    assert names(tmp_path) == []


def test_living_processes_are_told_from_dead_ones() -> None:
    assert folder._alive(str(os.getpid()))
    assert not folder._alive("99999999")
    assert folder._alive("not a number")
