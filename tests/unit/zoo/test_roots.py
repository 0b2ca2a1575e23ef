"""Roots that are folders, the index of a root, and which kind of root an address is."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sparsify.errors import ZooError
from sparsify.zoo import roots as module
from sparsify.zoo import verify
from sparsify.zoo.manifest import MANIFEST, MAX_MANIFEST, FileRecord, Manifest, record
from sparsify.zoo.remote import RemoteRoot
from sparsify.zoo.roots import FolderRoot, Listing, index_text, listed, names_entry, open_root, read_index
from sparsify.zoo.settings import Place, Settings
from sparsify.zoo.sparsezoo import SparseZooCache
from tests.helpers.zoos import ENTRY, STUB

PATH = PurePosixPath(ENTRY)
LONG = "a" * 300
"""A name that no file system takes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An entry without a manifest."""
    found = tmp_path / "zoo" / ENTRY
    (found / "training").mkdir(parents=True)
    (found / "recipe.yaml").write_text("a: 1")
    (found / "training" / "config.json").write_text("{}")
    return found


@pytest.fixture
def root(folder: Path, tmp_path: Path) -> FolderRoot:
    return FolderRoot(tmp_path / "zoo")


def entry(root: FolderRoot) -> Listing:
    found = root.entry(PATH)
    assert found is not None
    return found


def vouch(folder: Path, stub: str = STUB) -> None:
    """Write a manifest of the files there."""
    files = {path.relative_to(folder).as_posix(): record(path) for path in folder.rglob("*") if path.is_file()}
    (folder / MANIFEST).write_text(Manifest(stub=stub, files=files).text())


class TestEntries:
    def test_files_are_listed_but_not_hidden_ones(self, root: FolderRoot, folder: Path) -> None:
        for name in (".cache/x", ".hidden", "training/.x", "größe/b.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("")
        found = entry(root)
        assert found == Listing(PATH, found.files)
        assert dict(found.files) == {
            name: FileRecord() for name in ("recipe.yaml", "größe/b.txt", "training/config.json")
        }

    def test_what_is_no_entry_is_none(self, root: FolderRoot, folder: Path) -> None:
        (folder.parent / "other").mkdir()
        (folder.parent / "file").write_text("")
        (folder.parent / "other" / "notes.txt").write_text("")
        for name in ("none", "file", "other"):
            assert root.entry(PATH.parent / name) is None

    def test_too_many_files_are_not_listed_to_their_end(
        self, root: FolderRoot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_FILES", 1)
        with pytest.raises(ZooError, match=r"pruned80-none: more than 1 files; is this an entry\?"):
            root.entry(PATH)

    def test_a_manifest_decides_what_belongs_to_it(self, root: FolderRoot, folder: Path) -> None:
        vouch(folder)
        (folder / "later.txt").write_text("")
        found = entry(root)
        assert found.manifest is not None
        assert set(found.files) == {"recipe.yaml", "training/config.json"}
        assert root.local(found, "recipe.yaml") == folder / "recipe.yaml"
        assert root.folder(found, "training") == folder / "training"

    def test_a_manifest_must_be_the_entrys_own_but_in_a_folder_that_is_one(
        self, root: FolderRoot, folder: Path
    ) -> None:
        vouch(folder, STUB.replace("demo", "other"))
        with pytest.raises(ZooError, match=r"manifest\.json: it is the manifest of"):
            root.entry(PATH)
        alone = listed(folder, PurePosixPath())
        assert alone is not None
        assert alone.manifest is not None

    def test_a_manifest_without_end_is_not_read_to_its_end(self, root: FolderRoot, folder: Path) -> None:
        (folder / MANIFEST).write_bytes(b" " * (MAX_MANIFEST + 10))
        with pytest.raises(ZooError, match=f"larger than {MAX_MANIFEST} bytes"):
            root.entry(PATH)

    @pytest.mark.parametrize("path", [PATH, PurePosixPath(MANIFEST)])
    def test_a_link_that_leads_out_is_refused(self, path: PurePosixPath, root: FolderRoot, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "recipe.yaml").write_text("secret")
        link = root.base / path.parent / "linked"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tmp_path / "outside")
        with pytest.raises(ZooError, match="leads out of"):
            root.entry(path.parent / "linked")


class TestFiles:
    def test_a_changed_one_is_told(self, root: FolderRoot, folder: Path) -> None:
        vouch(folder)
        (folder / "recipe.yaml").write_text("a: 2")
        with pytest.raises(ZooError, match=r"recipe\.yaml: not the file that the manifest names"):
            root.local(entry(root), "recipe.yaml")

    def test_one_that_may_not_be_read_is_not_called_damaged(
        self, root: FolderRoot, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vouch(folder)
        found = entry(root)

        def denied(*args: Any, **options: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", denied)
        with pytest.raises(ZooError) as caught:
            root.local(found, "recipe.yaml")
        assert str(caught.value) == f"{folder / 'recipe.yaml'}: Permission denied"

    def test_one_that_is_not_there_is_not_laid_on_a_manifest_that_is_none(self, root: FolderRoot, folder: Path) -> None:
        (folder / "recipe_old.yaml").symlink_to("recipe_gone.yaml")
        with pytest.raises(ZooError, match=r"recipe_old\.yaml: listed and not there"):
            root.local(entry(root), "recipe_old.yaml")
        (folder / "recipe_old.yaml").unlink()
        vouch(folder)
        (folder / "recipe.yaml").unlink()
        with pytest.raises(ZooError, match=r"recipe\.yaml: named by the manifest and not there"):
            root.local(entry(root), "recipe.yaml")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
    def test_a_pipe_is_not_waited_for(self, root: FolderRoot, folder: Path) -> None:
        os.mkfifo(folder / "recipe_pipe.yaml")
        with pytest.raises(ZooError, match="or no plain file"):
            root.local(entry(root), "recipe_pipe.yaml")

    def test_names_stay_inside(self, root: FolderRoot) -> None:
        with pytest.raises(ZooError, match="may not leave its folder"):
            root.local(Listing(PATH, {"../x": FileRecord()}), "../x")


class TestStubs:
    def test_folders_seven_deep_and_short_names_at_the_top(self, root: FolderRoot) -> None:
        for name in ("a-b-c/training", ".git-a-b", "nodash", "a b-c-d", ".a/b/c/d/e/f/g", "x/y/z", "a/b/c/d/e-/f/g"):
            (root.base / name).mkdir(parents=True)
        (root.base / "d-e-f").symlink_to(root.base / "a-b-c")
        (root.base / "g-h-i").write_text("")
        assert root.stubs() == ["zoo:a-b-c", STUB]

    def test_a_folder_that_may_not_be_read_hides_only_itself(
        self, root: FolderRoot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root.base / "closed").mkdir()
        list_folder = Path.iterdir

        def denied(self: Path) -> Any:
            if self.name == "closed":
                raise PermissionError(13, "Permission denied")
            return list_folder(self)

        monkeypatch.setattr(Path, "iterdir", denied)
        assert root.stubs() == [STUB]

    @pytest.mark.parametrize("name", ["none", "file", LONG])
    def test_a_root_that_cannot_be_has_nothing(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        root = FolderRoot(tmp_path / name)
        assert root.missing() == (" (File name too long)" if name == LONG else " (missing)")
        assert root.stubs() == []
        assert root.entry(PATH) is None
        with pytest.raises(ZooError, match="no such folder" + (r" \(File name too long\)" if name == LONG else "$")):
            verify(root.base)

    def test_one_that_is_there_is_not_missing(self, root: FolderRoot) -> None:
        assert root.missing() == ""

    @pytest.mark.parametrize(
        ("name", "known"),
        [
            *((ENTRY, True), ("a-b-c", True), ("a-b", False), (f"{ENTRY}/training", False), (f"/{ENTRY}", False)),
            *((f"{ENTRY}?recipe=x", False), (f"zoo:{ENTRY}", False), ("a-b-c/@0123/training", False), ("", False)),
        ],
    )
    def test_paths_of_entries(self, name: str, known: bool) -> None:
        assert names_entry(name) is known


class TestIndex:
    def test_what_is_written_is_read(self) -> None:
        assert read_index(index_text([STUB, "zoo:a-b-c"]).encode(), "here") == ["zoo:a-b-c", STUB]

    def test_what_is_no_stub_is_left_out(self) -> None:
        raw = {"stubs": [ENTRY, STUB, "zoo:x", 3, None, f"{STUB}?recipe=a", "zoo:../a-b-c"], "more": 1}
        assert read_index(json.dumps(raw).encode(), "here") == [STUB]

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "not JSON"),
            (b"\xff\xfe", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "not an index"),
            (b'{"stubs": "zoo:a-b-c"}', "not an index"),
        ],
    )
    def test_what_is_no_index(self, data: bytes, said: str) -> None:
        with pytest.raises(ZooError, match=rf"^https://zoo\.org/index\.json: {said}"):
            read_index(data, "https://zoo.org")

    def test_an_index_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_FILES", 1)
        assert read_index(json.dumps({"stubs": [STUB] * 10}).encode(), "here") == [STUB]
        with pytest.raises(ZooError, match="not an index of a zoo"):
            read_index(json.dumps({"stubs": [STUB] * 11}).encode(), "here")


class TestKinds:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [("/zoo", "/zoo"), ("file:///zoo", "/zoo"), ("~/zoo", str(Path("~/zoo").expanduser())), ("C:\\zoo", "C:\\zoo")],
    )
    def test_folders(self, url: str, shown: str, tmp_path: Path) -> None:
        root = open_root(Place(url), Settings((), False, tmp_path))
        assert type(root) is FolderRoot
        assert root.shown == shown

    def test_others(self, tmp_path: Path) -> None:
        settings = Settings((), False, tmp_path)
        assert type(open_root(Place("/old", sparsezoo=True), settings)) is SparseZooCache
        remote = open_root(Place("https://ann:pa55@zoo.org/z"), settings)
        assert type(remote) is RemoteRoot
        assert remote.shown == "https://zoo.org/z"

    @pytest.mark.parametrize("url", ["", " ", "\n"])
    def test_an_empty_name(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(ZooError, match="root is empty"):
            open_root(Place(url), Settings((), False, tmp_path))
