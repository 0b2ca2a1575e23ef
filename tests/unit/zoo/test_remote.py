"""An address with the cache in front of it: what is asked, what is kept, and what holds while nobody answers."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pytest

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import remote as module
from sparsify.zoo.filesystem import WEAK, NotThere
from sparsify.zoo.manifest import MANIFEST, FileRecord, Manifest, record
from sparsify.zoo.remote import RemoteRoot
from sparsify.zoo.roots import Listing
from sparsify.zoo.settings import Place, Settings
from tests.helpers.zoos import ENTRY, STUB

PATH = PurePosixPath(ENTRY)
URL = "https://zoo.org/z"


class Store:
    """Stands where ``Remote`` does: files in memory.

    Attributes:
        files: By name.
        tags: Versions that it tells; it tells none of other files.
        sizes: Whether it tells sizes.
        down: Nobody answers.
        asked: Every question so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.sizes, self.down = True, False
        self.asked: list[str] = []

    def where(self, name: object) -> str:
        return f"{URL}/{name}"

    def find(self, name: object = "", depth: int | None = None, most: int = 0) -> list[str]:
        self._ask("find", name)
        start = "" if str(name) in ("", ".") else f"{name}/"
        return sorted(key.removeprefix(start) for key in self.files if key.startswith(start))

    def info(self, name: object) -> FileRecord:
        self._ask("info", name)
        size = len(self._data(name)) if self.sizes else None
        return FileRecord(size=size, tag=self.tags.get(str(name)))

    def read(self, name: object, limit: int) -> bytes:
        self._ask("read", name)
        return self._data(name)

    @contextlib.contextmanager
    def open(self, name: object, start: int) -> Iterator[tuple[BinaryIO, int]]:
        self._ask("open", name)
        yield io.BytesIO(self._data(name)), 0

    def _ask(self, how: str, name: object) -> None:
        self.asked.append(f"{how} {PurePosixPath(str(name)).name}")
        if self.down:
            raise ZooUnreachable(f"{self.where(name)}: gone")

    def _data(self, name: object) -> bytes:
        if str(name) not in self.files:
            raise NotThere(str(name))
        return self.files[str(name)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sparsify.zoo.fetch._PAUSE", 0)
    monkeypatch.setattr(module, "_asked", set())
    return Store()


@pytest.fixture
def open_root(store: Store, cache: Path) -> Callable[..., RemoteRoot]:
    """A root as a new process would open it."""

    def opened(flat: bool = False, offline: bool = False) -> RemoteRoot:
        module._asked.clear()
        root = RemoteRoot(Place(URL), Settings((), offline, cache), flat)
        if not offline:
            root.__dict__["remote"] = store
        return root

    return opened


def entry(root: RemoteRoot, path: PurePosixPath = PATH) -> Listing:
    found = root.entry(path)
    assert found is not None
    return found


def text(root: RemoteRoot, name: str = "recipe.yaml") -> str:
    return root.local(entry(root), name).read_text()


def publish(store: Store, tmp_path: Path, content: str, tag: str | None = '"1"', stub: str = STUB) -> None:
    """An entry with a manifest."""
    (tmp_path / "source").write_text(content)
    manifest = Manifest(stub=stub, files={"recipe.yaml": record(tmp_path / "source")})
    store.files[f"{ENTRY}/recipe.yaml"] = content.encode()
    store.files[f"{ENTRY}/{MANIFEST}"] = manifest.text().encode()
    store.tags.pop(f"{ENTRY}/{MANIFEST}", None)
    if tag is not None:
        store.tags[f"{ENTRY}/{MANIFEST}"] = tag


Roots = Callable[..., RemoteRoot]


class TestManifests:
    def test_one_that_is_known_by_its_tag_is_not_read_again(
        self, store: Store, open_root: Roots, tmp_path: Path
    ) -> None:
        publish(store, tmp_path, "a: 1")
        assert text(open_root()) == "a: 1"
        store.asked.clear()
        assert text(open_root()) == "a: 1"
        assert store.asked == [f"info {MANIFEST}"]
        publish(store, tmp_path, "a: 2", tag='"2"')
        assert text(open_root()) == "a: 2"

    @pytest.mark.parametrize("tag", [None, f"{WEAK}: Mon, 01 Jan 2024 00:00:00 GMT"])
    def test_one_without_a_tag_that_binds_is_read_each_time(
        self, tag: str | None, store: Store, open_root: Roots, tmp_path: Path
    ) -> None:
        publish(store, tmp_path, "a: 1", tag)
        assert text(open_root()) == "a: 1"
        publish(store, tmp_path, "a: 2", tag)
        assert text(open_root()) == "a: 2"

    def test_a_reader_of_the_old_version_is_not_disturbed(self, store: Store, open_root: Roots, tmp_path: Path) -> None:
        publish(store, tmp_path, "a: 1")
        root = open_root()
        old = root.local(entry(root), "recipe.yaml")
        publish(store, tmp_path, "a: 2", tag='"2"')
        new = root.local(entry(root), "recipe.yaml")
        assert (old.read_text(), new.read_text()) == ("a: 1", "a: 2")
        assert new.parent == root.folder(entry(root), "")

    def test_of_another_entry_is_refused_but_an_alias_may_hold_any(
        self, store: Store, open_root: Roots, tmp_path: Path
    ) -> None:
        publish(store, tmp_path, "a: 1", stub=STUB.replace("demo", "other"))
        with pytest.raises(ZooError, match=rf"{URL}/{ENTRY}/manifest\.json: it is the manifest of"):
            open_root().entry(PATH)
        store.files = {name.removeprefix(f"{ENTRY}/"): data for name, data in store.files.items()}
        assert text(open_root(flat=True)) == "a: 1"

    def test_one_that_went_leaves_no_manifest_behind(self, store: Store, open_root: Roots, tmp_path: Path) -> None:
        publish(store, tmp_path, "a: 1")
        assert entry(open_root()).manifest is not None
        del store.files[f"{ENTRY}/{MANIFEST}"]
        assert entry(open_root()).manifest is None
        store.down = True
        assert entry(open_root()).manifest is None


class TestWithoutManifest:
    def test_files_are_listed_but_not_those_of_odd_names_or_gone_meanwhile(
        self, store: Store, open_root: Roots, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("recipe.yaml", "naïve (1).txt", "a#b.txt", ".hidden", "gone.txt"):
            store.files[f"{ENTRY}/{name}"] = b"abc"
        listed = store.find(PATH)
        del store.files[f"{ENTRY}/gone.txt"]
        monkeypatch.setattr(store, "find", lambda *_: listed)
        store.tags[f"{ENTRY}/recipe.yaml"] = "v1"
        assert dict(entry(open_root()).files) == {
            "naïve (1).txt": FileRecord(size=3),
            "recipe.yaml": FileRecord(size=3, tag="v1"),
        }

    def test_what_is_no_entry_is_none(self, store: Store, open_root: Roots) -> None:
        store.files[f"{ENTRY}/notes.txt"] = b""
        assert open_root().entry(PATH) is None
        assert open_root().entry(PurePosixPath("a-b-c")) is None

    def test_names_that_cannot_lie_side_by_side_are_told(self, store: Store, open_root: Roots) -> None:
        store.files |= {f"{ENTRY}/recipe.yaml": b"", f"{ENTRY}/Recipe.yaml": b""}
        with pytest.raises(ZooError, match=rf"{URL}/{ENTRY}: two files are named"):
            open_root().entry(PATH)

    def test_a_copy_that_was_damaged_is_fetched_again_and_a_lost_record_costs_nothing(
        self, store: Store, open_root: Roots
    ) -> None:
        store.files[f"{ENTRY}/recipe.yaml"], store.tags[f"{ENTRY}/recipe.yaml"] = b"a: 1", "v1"
        root = open_root()
        file = root.local(entry(root), "recipe.yaml")
        file.write_text("evil")  # as long as it was
        assert text(open_root()) == "a: 1"
        (note,) = file.parent.glob(".records/*")
        note.write_text("{")
        store.asked.clear()
        assert text(open_root()) == "a: 1"
        assert "open recipe.yaml" not in store.asked


@pytest.mark.parametrize("sizes", [True, False])
class TestAServerThatTellsNoVersions:
    @pytest.fixture(autouse=True)
    def _mute(self, store: Store, sizes: bool) -> None:
        store.files[f"{ENTRY}/recipe.yaml"] = b"a: 1"
        store.sizes = sizes

    def test_its_files_are_fetched_once_by_each_process(self, store: Store, open_root: Roots) -> None:
        root = open_root()
        assert text(root) == "a: 1"
        store.files[f"{ENTRY}/recipe.yaml"] = b"a: 2"
        assert text(root) == "a: 1"  # one run reads one version
        assert text(open_root()) == "a: 2"
        assert store.asked.count("open recipe.yaml") == 2

    def test_a_fetch_that_fails_loses_nothing(
        self, store: Store, open_root: Roots, caplog: pytest.LogCaptureFixture
    ) -> None:
        text(open_root())
        root = open_root()
        listing = entry(root)
        store.down = True
        with caplog.at_level(logging.WARNING, "sparsify"):
            assert root.local(listing, "recipe.yaml").read_text() == "a: 1"
        assert f"{URL}/{ENTRY}/recipe.yaml: not fetched in 4 tries" in caplog.text
        assert "using what is in the cache" in caplog.text
        store.down = False
        store.files[f"{ENTRY}/recipe.yaml"] = b"a: 2"
        assert root.local(listing, "recipe.yaml").read_text() == "a: 2"

    def test_the_first_fetch_must_succeed(self, store: Store, open_root: Roots) -> None:
        root = open_root()
        listing = entry(root)
        store.down = True
        with pytest.raises(ZooUnreachable, match="not fetched in 4 tries"):
            root.local(listing, "recipe.yaml")

    def test_offline_and_unreachable_it_is_what_it_was(
        self, store: Store, open_root: Roots, caplog: pytest.LogCaptureFixture
    ) -> None:
        text(open_root())
        with caplog.at_level(logging.WARNING, "sparsify"):
            assert text(open_root(offline=True)) == "a: 1"
        assert not caplog.text
        store.down = True
        store.asked.clear()
        assert text(open_root()) == "a: 1"
        assert store.asked == [f"info {MANIFEST}"]

    def test_a_changed_file_is_not_called_damaged(
        self, store: Store, open_root: Roots, caplog: pytest.LogCaptureFixture
    ) -> None:
        text(open_root())
        with caplog.at_level(logging.WARNING, "sparsify"):
            text(open_root())
        assert not caplog.text


class TestNobodyAnswers:
    def test_what_is_in_the_cache_is_used_and_said(
        self, store: Store, open_root: Roots, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        publish(store, tmp_path, "a: 1")
        with pytest.raises(ZooUnreachable, match="not asked"):
            open_root(offline=True).entry(PATH)
        text(open_root())
        store.down = True
        with caplog.at_level(logging.WARNING, "sparsify"):
            found = entry(open_root())
        assert found.stale
        assert f"{URL}/{ENTRY}/{MANIFEST}: gone; using what is in the cache" in caplog.text
        caplog.clear()
        assert text(open_root(offline=True)) == "a: 1"
        assert not caplog.text  # who asked for it need not be told

    def test_a_file_that_was_never_fetched(self, store: Store, open_root: Roots, tmp_path: Path) -> None:
        publish(store, tmp_path, "a: 1")
        root = open_root()
        entry(root)
        store.down = True
        message = rf"{URL}/{ENTRY}/recipe\.yaml: not in the cache, and the root cannot be asked"
        for asked in (root, open_root(offline=True)):
            with pytest.raises(ZooUnreachable, match=message):
                text(asked)

    @pytest.mark.parametrize(
        "head",
        [
            *("", "[]", "{}", "null", '{"manifest": false}', '{"manifest": false, "files": 3}', "[" * 100_000),
            '{"manifest": false, "files": {"../x": {}}}',
            '{"manifest": false, "files": {"recipe.yaml": {"size": "3"}}}',
            '{"manifest": true, "tag": null, "revision": "gone"}',
        ],
    )
    def test_a_damaged_record_of_an_entry_is_none(
        self, head: str, store: Store, open_root: Roots, cache: Path, tmp_path: Path
    ) -> None:
        publish(store, tmp_path, "a: 1")
        text(open_root())
        (file,) = cache.rglob("head.json")
        file.write_text(head)
        store.down = True
        with pytest.raises(ZooUnreachable, match="gone"):
            open_root().entry(PATH)
        store.down = False
        assert text(open_root()) == "a: 1"

    @pytest.mark.parametrize(
        ("url", "variable", "offline"),
        [("hf://a/b", "1", True), ("HF://a/b", "on", True), ("hf://a/b", "0", False), (URL, "1", False)],
    )
    def test_the_hubs_own_switch_is_for_the_hub(
        self, url: str, variable: str, offline: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", variable)
        assert bool(RemoteRoot(Place(url), Settings((), False, cache)).missing()) is offline


def test_a_file_that_the_manifest_names_and_nobody_has(store: Store, open_root: Roots, tmp_path: Path) -> None:
    publish(store, tmp_path, "a: 1")
    del store.files[f"{ENTRY}/recipe.yaml"]
    with pytest.raises(ZooError, match=rf"{URL}/{ENTRY}/recipe\.yaml: listed, and not there"):
        text(open_root())


def test_a_place_never_leaves_the_entry(open_root: Roots) -> None:
    listing = Listing(PATH, {})
    assert open_root().place(listing, "training/x") == PATH / "training" / "x"
    assert open_root(flat=True).place(listing, "training/x") == PurePosixPath("training/x")
    with pytest.raises(ZooError, match="may not leave its folder"):
        open_root().place(listing, "../x")


class TestStubs:
    SHORT = "obert-base-sst2-pruned90"

    def test_the_index_says_them(self, store: Store, open_root: Roots) -> None:
        store.files["index.json"] = json.dumps({"stubs": [STUB, "zoo:nonsense"]}).encode()
        assert open_root().stubs() == [STUB]
        assert open_root(flat=True).stubs() == []

    @pytest.mark.parametrize("index", [b"<html>", b"[]", b'{"stubs": {}}'])
    def test_an_answer_that_is_no_index(self, index: bytes, store: Store, open_root: Roots) -> None:
        store.files["index.json"] = index
        with pytest.raises(ZooError, match=r"https://zoo\.org/z/index\.json: not "):
            open_root().stubs()

    def test_without_an_index_folders_are_taken(self, store: Store, open_root: Roots) -> None:
        deep = "/".join("abcdefgh")
        names: list[str] = [
            *(f"{ENTRY}/recipe.yaml", f"{ENTRY}/training/{deep}/x", f"{self.SHORT}/training/config.json"),
            *("a-b-c-d/recipe.md", "e-f-g", "README.md", "nlp/recipe.yaml", "a/b/c/d/e/f?recipe=x/g/h"),
            *("h-i-j/1/2/3/4/5/6/7/8", "/".join("abcdefg"), "k-l-m?recipe=x/recipe.md"),
        ]
        store.files = dict.fromkeys(names, b"")
        assert open_root().stubs() == sorted([STUB, f"zoo:{self.SHORT}", "zoo:a-b-c-d", "zoo:h-i-j"])

    def test_where_nobody_answers_those_of_the_cache(self, store: Store, open_root: Roots) -> None:
        for name in ("recipe.yaml", "training/head.json"):  # a file may have the name of the cache's own
            store.files[f"{ENTRY}/{name}"] = b"{}"
        root = open_root()
        found = entry(root)
        assert all(root.local(found, name) for name in found.files)
        store.down = True
        assert open_root().stubs() == open_root(offline=True).stubs() == [STUB]
        with pytest.raises(ZooUnreachable):
            open_root().asked()

    def test_where_nobody_answers_and_nothing_was_fetched(self, open_root: Roots) -> None:
        assert open_root(offline=True).stubs() == []


def test_an_address_is_shown_without_its_secrets(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(module, "Remote", lambda *given: opened.append(given))
    options = {"headers": {"a": "b"}}
    root = RemoteRoot(Place("https://ann:pa55@zoo.org/z", options), Settings((), False, cache))
    assert root.shown == URL
    assert root.remote is None
    assert opened == [("https://ann:pa55@zoo.org/z", options)]
