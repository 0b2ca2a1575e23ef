"""The cache: whole files or none, checked each time they change, one folder for each root."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo import cache as zoo_cache
from sparsify.zoo.manifest import FileRecord, record


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deep" / "x"
    zoo_cache.write(file, b"old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(ZooError, match=f"{file}: No space left on device"):
                zoo_cache.write(file, b"new")
        assert file.read_bytes() == b"old"
        assert names(file.parent) == ["x"]


def test_a_file_has_the_modes_of_other_files(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        zoo_cache.write(tmp_path / "x", b"")
        assert zoo_cache.umask() == 0o027
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_threads_that_ask_for_the_mask_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.umask

    def slow(mask: int) -> int:
        try:
            return real(mask)
        finally:
            time.sleep(0.002)

    before = real(0o077)
    try:
        monkeypatch.setattr(os, "umask", slow)
        threads = [threading.Thread(target=lambda: [zoo_cache.umask() for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert real(0o077) == 0o077
    finally:
        real(before)


def test_a_file_that_changed_is_read_again_even_with_its_old_time(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"good")
    known, stamp = record(file), file.stat()
    assert zoo_cache.matches(file, known)
    (tmp_path / "y").write_bytes(b"evil")
    os.utime(tmp_path / "y", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as cp -p and rsync -t do
    shutil.move(tmp_path / "y", file)
    assert file.stat().st_mtime_ns == stamp.st_mtime_ns
    assert not zoo_cache.matches(file, known)


def test_what_does_not_match(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert zoo_cache.matches(tmp_path / "x", FileRecord())
    assert not zoo_cache.matches(tmp_path / "x", FileRecord(size=4))
    assert not zoo_cache.matches(tmp_path, FileRecord())
    assert not zoo_cache.matches(tmp_path / "none", FileRecord())
    assert not zoo_cache.matches(tmp_path / "x" / "below", FileRecord())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://zoo.org/z", "https://zoo.org/z/", True),
        ("https://ann:a@zoo.org/z", "https://bob:b@zoo.org/z", True),  # credentials change nothing of the files
        ("https://zoo.org/z", "https://zoo.org/y", False),
        ("github://org:repo@main/zoo", "github://other:repo@main/zoo", False),
        ("github://org:repo@main/zoo", "github://org:repo@v2/zoo", False),
        ("hf://org/repo", "hf://org/repo@v2", False),
    ],
)
def test_one_folder_for_each_root(one: str, other: str, same: bool, tmp_path: Path) -> None:
    folders = [zoo_cache.root_folder(tmp_path, url) for url in (one, other)]
    assert (folders[0] == folders[1]) is same
    assert "zoo.org" not in str(folders[0])


def test_a_lock_is_let_go_after_an_error_and_holds_out_other_threads(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), zoo_cache.locked(tmp_path / "x"):
        raise RuntimeError("inside")
    order: list[str] = []

    def second() -> None:
        with zoo_cache.locked(tmp_path / "x"):
            order.append("second")

    with zoo_cache.locked(tmp_path / "x"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_cache_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=f"{tmp_path / 'file' / 'x'}: "), zoo_cache.locked(tmp_path / "file" / "x"):
        pass
    with pytest.raises(ZooError, match=f"{tmp_path / 'file' / 'x'}: "):
        zoo_cache.write(tmp_path / "file" / "x", b"")
