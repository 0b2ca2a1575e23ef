"""Archives of folders: unpacked once, whole, readable as other files are; damage is found."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo.archive import unpacked

NOISE = os.urandom(50_000)


def archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prefix", ["training/", "", "./training/", "./"])
def test_the_folder_in_it_is_taken_off(prefix: str, tmp_path: Path) -> None:
    members = {f"{prefix}config.json": b"{}", f"{prefix}deep/er/x": b"1", f"{prefix}empty.txt": b""}
    folder = unpacked(archive(tmp_path / "a.tar.gz", members), "training", tmp_path / "cache")
    assert files(folder) == {"config.json", "deep/er/x", "empty.txt"}
    assert folder.name == "training"


def test_a_single_folder_of_another_name_stays(tmp_path: Path) -> None:
    folder = unpacked(archive(tmp_path / "a.tar.gz", {"other/x": b""}), "training", tmp_path / "cache")
    assert files(folder) == {"other/x"}


@pytest.mark.parametrize("prefix", ["training/", ""])
def test_others_may_read_it_as_they_may_read_new_files(prefix: str, tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        folder = unpacked(archive(tmp_path / "a.tar.gz", {f"{prefix}x": b""}), "training", tmp_path / "cache")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "x").stat().st_mode & 0o777 == 0o644


def test_plain_tar_under_this_name_is_read_and_a_changed_archive_anew(tmp_path: Path) -> None:
    first = unpacked(archive(tmp_path / "a.tar.gz", {"x": b"1"}, "w"), "training", tmp_path / "cache")
    second = unpacked(archive(tmp_path / "a.tar.gz", {"x": b"2"}), "training", tmp_path / "cache")
    assert (first / "x").read_bytes() == b"1"
    assert (second / "x").read_bytes() == b"2"


@pytest.mark.parametrize("where", [0.3, 0.5, 0.7])
def test_a_flipped_bit_is_found(where: float, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.tar.gz", {"training/model.safetensors": NOISE, "training/z": b"end"})
    data = bytearray(file.read_bytes())
    data[int(len(data) * where)] ^= 1
    file.write_bytes(data)
    with pytest.raises(ZooError, match=r"a\.tar\.gz: "):
        unpacked(file, "training", tmp_path / "cache")
    assert not files(tmp_path / "cache") - {path for path in files(tmp_path / "cache") if path.endswith(".lock")}


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_cut_archive_is_found(mode: str, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.tar.gz", {"training/model.safetensors": NOISE}, mode)
    for size in (0, 100, 600, 20_000):
        file.write_bytes(file.read_bytes()[:size] if size else b"")
        with pytest.raises(ZooError, match=r"a\.tar\.gz: "):
            unpacked(file, "training", tmp_path / "cache")


def test_zeros_without_end_behind_the_last_member_are_not_read_to_their_end(tmp_path: Path) -> None:
    plain = archive(tmp_path / "plain", {"x": b"1"}, "w").read_bytes()
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as out:
        out.write(plain)
        for _ in range(40):
            out.write(bytes(2**20))
    with pytest.raises(ZooError, match="more than is believable"):
        unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_record_before_a_file_is_not_read_whole_where_it_is_very_long(kind: bytes, tmp_path: Path) -> None:
    size = 16 * 2**20
    begin = tarfile.TarInfo("././@LongLink")
    begin.type, begin.size = kind, size
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as out:
        out.write(begin.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size // 2**20):
            out.write(b"a" * 2**20)
        out.write(tarfile.TarInfo("x").tobuf() + bytes(1024))
    tracemalloc.start()
    try:
        with pytest.raises(ZooError, match=r"a\.tar\.gz: more than 1,048,576 bytes stand before a file in it"):
            unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")
        assert tracemalloc.get_traced_memory()[1] < size / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_file_by_file(form: int, tmp_path: Path) -> None:
    names = [f"{'x' * 110}/{'é' * 50}{number}" for number in range(3)]
    content = os.urandom(2**20) + bytes(2 * 2**20)  # more than may stand before a file
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=form) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    folder = unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")
    assert {path: (folder / path).read_bytes() == content for path in files(folder)} == dict.fromkeys(names, True)


def test_folders_without_end_are_not_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsify.zoo.archive.MAX_FILES", 2)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for number in range(5):
            member = tarfile.TarInfo(f"training/{number}")
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
    with pytest.raises(ZooError, match=r"a\.tar\.gz: more than 4 files and folders"):
        unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")


@pytest.mark.parametrize("members", [{"a": b"", "A": b""}, {"a": b"", "a/b": b""}, {"a/b": b"", "a": b""}])
def test_members_that_cannot_lie_side_by_side(members: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"a\.tar\.gz: "):
        unpacked(archive(tmp_path / "a.tar.gz", members), "training", tmp_path / "cache")


def test_a_member_named_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for data in (b"good", b"evil"):
            member = tarfile.TarInfo("training/x")
            member.size = 4
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(ZooError, match="two files are named 'training/x'"):
        unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_say_so(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("training/x")
        member.type, member.linkname = kind, "training/y"
        tar.addfile(member)
    with pytest.raises(ZooError, match=r"'training/x' is no plain file; links and devices are not unpacked"):
        unpacked(tmp_path / "a.tar.gz", "training", tmp_path / "cache")
