"""Archives that SparseZoo stored folders in (``training.tar.gz``): unpacked so that nothing leaves the target."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from sparsify.errors import ZooError
from sparsify.zoo import cache
from sparsify.zoo.manifest import digest
from sparsify.zoo.names import MAX_BYTES, MAX_FILES, safe, safe_set

_CHUNK = 2**20
_RATIO = 200
"""How many times its own size an archive may unpack to; weights do not shrink so much."""
_HEADERS = 2**20
"""Bytes that may stand before one member: tarfile reads records of long names and attributes whole."""


def unpacked(archive: Path, name: str, folder: Path) -> Path:
    """The archive's contents as a folder in the cache; unpacked once.

    Args:
        archive: A .tar.gz file.
        name: What the folder in it is called (``training``); taken off where every member begins with it.
        folder: The cache.

    Returns:
        The folder.

    Raises:
        ZooError: Not an archive, a member leaves it or is a link or device, or it unpacks to too much.
    """
    target = folder / "unpacked" / digest(archive)[:32] / name
    if target.is_dir():
        return target
    with cache.locked(target), cache.told(target):
        if target.is_dir():
            return target
        stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            _unpack(archive, stage)
            inner = list(stage.iterdir())
            source = inner[0] if len(inner) == 1 and inner[0].is_dir() and inner[0].name == name else stage
            os.chmod(source, 0o777 & ~cache.umask())  # mkdtemp's folders are the user's alone
            os.replace(source, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return target


def _unpack(archive: Path, stage: Path) -> None:
    where = str(archive)
    left = min(MAX_BYTES, max(archive.stat().st_size, 2**16) * _RATIO)
    names: list[str] = []
    try:
        with _opened(archive) as stream, _members(given := _Given(stream, where)) as tar:
            for count, member in enumerate(tar):
                given.allow(_HEADERS)
                if count >= 2 * MAX_FILES:  # folders are counted nowhere else
                    raise ZooError(f"{where}: more than {2 * MAX_FILES} files and folders; refused")
                name = member.name.removeprefix("./").rstrip("/")
                if member.isdir():
                    if name not in ("", "."):
                        safe(name, where)
                    continue
                if not member.isreg():
                    raise ZooError(
                        f"{where}: {member.name[:80]!r} is no plain file; links and devices are not unpacked"
                    )
                names.append(name)
                safe_set(names[-1:], where)
                if len(names) > MAX_FILES or member.size > left:
                    raise ZooError(f"{where}: unpacks to more than is believable; refused")
                left -= member.size
                given.allow(member.size + _HEADERS)
                content = tar.extractfile(member)
                if content is not None:
                    _copy(content, stage / safe(name, where), member.size)
                given.allow(_HEADERS)
            _finish(stream, left, where)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError, LookupError) as error:
        raise ZooError(f"{where}: not an archive that can be read ({type(error).__name__})") from error
    except OSError as error:
        raise ZooError(f"{where}: cannot be unpacked ({error.strerror or error})") from error
    safe_set(names, where)


def _members(given: _Given) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast(BinaryIO, given), mode="r:")


class _Given:
    """An archive's stream, of which so much is given as was allowed: what a header says of its own size is not believed."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where, self._left = stream, where, _HEADERS
        self.seek, self.tell = stream.seek, stream.tell

    def allow(self, size: int) -> None:
        """Let so many bytes be read from here on."""
        self._left = size

    def read(self, size: int) -> bytes:
        """The next bytes."""
        self._left -= size
        if self._left < 0:
            raise ZooError(f"{self._where}: more than {_HEADERS:,} bytes stand before a file in it; refused")
        return self._stream.read(size)


def _opened(archive: Path) -> BinaryIO:
    with archive.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(archive)) if zipped else archive.open("rb")


def _finish(stream: BinaryIO, left: int, where: str) -> None:
    """Read on to the end of the archive: gzip's checksum stands there, and is compared only then."""
    while chunk := stream.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise ZooError(f"{where}: unpacks to more than is believable; refused")


def _copy(stream: object, path: Path, size: int) -> None:
    source: BinaryIO = stream  # type: ignore[assignment]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        while size > 0 and (chunk := source.read(min(_CHUNK, size))):
            out.write(chunk)
            size -= len(chunk)
