"""The door to fsspec: names, versions and sizes as servers tell them."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from sparsify.errors import ZooError
from sparsify.zoo.filesystem import NotThere, Remote
from sparsify.zoo.names import MAX_BYTES
from tests.helpers.zoos import Plain, python_server


def test_names_that_an_address_spells_otherwise(tmp_path: Path) -> None:
    for name in ("a b.txt", "vocab+1.txt", "naïve (1).json", "deep/x,y.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    with python_server(tmp_path, Plain) as port:
        remote = Remote(f"http://127.0.0.1:{port}", {})
        found = remote.find(depth=3)
        assert found == ["a b.txt", "deep/x,y.md", "naïve (1).json", "vocab+1.txt"]
        assert [remote.read(name, 100).decode() for name in found] == found


def test_a_server_without_etags_tells_versions_by_time(tmp_path: Path) -> None:
    import os

    (tmp_path / "recipe.yaml").write_text("a: 1")
    with python_server(tmp_path, Plain) as port:
        remote = Remote(f"http://127.0.0.1:{port}", {})
        first = remote.info("recipe.yaml")
        (tmp_path / "recipe.yaml").write_text("a: 2")
        os.utime(tmp_path / "recipe.yaml", (1, 1))
        second = remote.info("recipe.yaml")
    assert first.size == second.size
    assert first.tag != second.tag


@pytest.mark.parametrize(
    "url", ["simplecache::http://zoo.org/z", "zip://x.zip::https://zoo.org/z", "filecache::s3://b/z"]
)
def test_chained_addresses_are_refused(url: str) -> None:
    with pytest.raises(ZooError, match="chained"):
        Remote(url, {})


@pytest.mark.parametrize("url", ["HTTP://zoo.org/z", "Http://zoo.org/z"])
def test_the_scheme_in_capitals_is_the_same_scheme(url: str) -> None:
    with pytest.raises(ZooError, match="use https"):
        Remote(url, {})
    assert Remote("HTTPS://zoo.org/z", {}).protocol == "https"


def test_this_machine_by_its_ipv6_address() -> None:
    assert Remote("http://[::1]:8080/zoo/", {}).path("a b") == "http://[::1]:8080/zoo/a%20b"


@pytest.fixture
def remote() -> Remote:
    """A store in memory."""
    found = Remote("memory://zoo", {})
    found.write(b"abc", "a/file")
    found.write(b"", "a/empty")
    return found


def test_files_folders_and_what_is_not_there(remote: Remote) -> None:
    assert remote.read("a/file", 3) == b"abc"
    assert remote.read("a/empty", 3) == b""
    assert remote.info("a/file").size == 3
    assert remote.find("a") == ["empty", "file"]
    assert remote.find("none") == []
    for missing in ("a", "none", "a/file/x"):
        with pytest.raises(NotThere):
            remote.info(missing)
    with pytest.raises(ZooError, match="memory://zoo/a/file: larger than 2 bytes"):
        remote.read("a/file", 2)
    with pytest.raises(ZooError, match="lists more than 1 files"):
        remote.find("a", most=1)


def test_a_size_that_nothing_has(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"type": "file", "size": MAX_BYTES + 1}
    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "info", lambda self, path: said)
    with pytest.raises(ZooError, match=r"memory://zoo/a/file: has 68,719,476,737 bytes"):
        remote.info("a/file")
    said["size"] = -1
    assert remote.info("a/file").size is None


def test_an_unknown_scheme_is_told_without_its_secrets() -> None:
    with pytest.raises(ZooError, match=r"nonsense://zoo\.org/z: not an address that can be opened") as caught:
        Remote("nonsense://ann:pa55@zoo.org/z", {})
    assert "pa55" not in str(caught.value)
