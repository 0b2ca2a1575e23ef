"""Fetching one file from a source that is cut, changes, lies or has nothing: without a network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import fetch as fetching
from sparsify.zoo.fetch import fetch
from sparsify.zoo.manifest import FileRecord
from sparsify.zoo.settings import silent

WHERE = "https://zoo.org/z/file.bin"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSE", 0)


class Source:
    """A remote file.

    Attributes:
        cuts: After how many bytes each of the next answers ends in an error.
        starts: Where each answer began.
    """

    def __init__(
        self, data: bytes, cuts: list[int] | None = None, ranges: bool = True, silent_cut: bool = False
    ) -> None:
        self.data, self.cuts, self.ranges, self.silent_cut = data, cuts or [], ranges, silent_cut
        self.starts: list[int] = []

    @contextlib.contextmanager
    def __call__(self, start: int) -> Iterator[tuple[BinaryIO, int]]:
        begin = start if self.ranges else 0
        self.starts.append(begin)
        left = self.cuts.pop(0) if self.cuts else None
        yield cast(BinaryIO, _Cut(self.data[begin:], left, self.silent_cut)), begin


class _Cut:
    def __init__(self, data: bytes, left: int | None, quiet: bool) -> None:
        self.stream, self.left, self.quiet = io.BytesIO(data), left, quiet

    def read(self, count: int) -> bytes:
        if self.left is None:
            return self.stream.read(min(count, 7))
        if self.left <= 0 and not self.quiet:
            raise ZooUnreachable(f"{WHERE}: ClientPayloadError: gone")
        piece = self.stream.read(min(count, 7, self.left))
        self.left -= len(piece)
        return piece


def told(data: bytes) -> FileRecord:
    return FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def get(source: Source, target: Path, file: FileRecord) -> bytes:
    return fetch(source, target, file, WHERE, silent).read_bytes()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("known", [FileRecord(), FileRecord(size=0), told(b"")])
def test_an_empty_file_is_a_file(known: FileRecord, tmp_path: Path) -> None:
    assert get(Source(b""), tmp_path / "x", known) == b""
    assert left_over(tmp_path) == ["x"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    ranges=st.booleans(),
    quiet=st.booleans(),
)
def test_whatever_is_cut_the_file_is_whole(
    data: bytes, cuts: list[int], ranges: bool, quiet: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("f")
    assert get(Source(data, cuts, ranges, quiet), folder / "x", told(data)) == data
    assert left_over(folder) == ["x"]


def test_the_next_call_goes_on_where_this_one_ended(tmp_path: Path) -> None:
    data = bytes(range(100))
    with pytest.raises(ZooUnreachable, match=r"40 bytes are kept, the next try goes on there"):
        get(Source(data, [10] * 4), tmp_path / "x", told(data))
    source = Source(data)
    assert get(source, tmp_path / "x", told(data)) == data
    assert source.starts == [40]


def test_why_it_failed_is_said(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def forbidden(start: int) -> Iterator[tuple[BinaryIO, int]]:
        raise ZooUnreachable(f"{WHERE}: ClientResponseError: 403, message='Forbidden'")
        yield

    with pytest.raises(ZooUnreachable) as caught:
        fetch(forbidden, tmp_path / "x", FileRecord(), WHERE, silent)
    assert "403" in str(caught.value)
    assert str(caught.value).count(WHERE) == 1
    assert "kept" not in str(caught.value)


@pytest.mark.parametrize("other", [told(b"y" * 60), FileRecord(size=60, tag="v2"), FileRecord()])
def test_the_beginning_of_another_version_is_not_gone_on_with(other: FileRecord, tmp_path: Path) -> None:
    with pytest.raises(ZooUnreachable):
        get(Source(b"x" * 50, [10] * 4), tmp_path / "x", FileRecord(size=50, tag="v1"))
    source = Source(b"y" * 60)
    assert get(source, tmp_path / "x", other) == b"y" * 60
    assert source.starts == [0]


def test_a_damaged_beginning_costs_one_more_try(tmp_path: Path) -> None:
    data = bytes(range(100))
    with pytest.raises(ZooUnreachable):
        get(Source(data, [10] * 4), tmp_path / "x", told(data))
    (tmp_path / ".x.part").write_bytes(b"?" * 40)
    source = Source(data)
    assert get(source, tmp_path / "x", told(data)) == data
    assert source.starts == [40, 0]


def test_a_beginning_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    data = bytes(range(100))
    with pytest.raises(ZooUnreachable):
        get(Source(data, [10] * 4), tmp_path / "x", told(data))
    (tmp_path / ".x.part").write_bytes(b"?" * 400)
    assert get(Source(data), tmp_path / "x", told(data)) == data


def test_what_was_there_stays_until_a_checked_file_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old one")
    with pytest.raises(ZooError, match=r"its sha256 is [0-9a-f]{16}\.\.\., the manifest says .*nothing was kept"):
        get(Source(b"evil"), tmp_path / "x", told(b"good"))
    with pytest.raises(ZooError, match=re.escape("larger than the 4 bytes that were announced")):
        get(Source(b"good and more"), tmp_path / "x", told(b"good"))
    assert (tmp_path / "x").read_bytes() == b"old one"
    assert get(Source(b"good"), tmp_path / "x", told(b"good")) == b"good"
    assert left_over(tmp_path) == ["x"]


def test_a_file_that_is_there_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"good")
    source = Source(b"good")
    get(source, tmp_path / "x", told(b"good"))
    assert source.starts == []


def test_without_a_size_a_limit_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 20)
    with pytest.raises(ZooError, match="larger than the 20 bytes"):
        get(Source(b"x" * 30), tmp_path / "x", FileRecord())
