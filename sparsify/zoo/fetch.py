"""Fetch one file: resumed where it was cut, checked before it counts, once however many processes want it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import cache
from sparsify.zoo.manifest import FileRecord
from sparsify.zoo.names import MAX_BYTES
from sparsify.zoo.settings import Progress

logger = logging.getLogger(__name__)
CHUNK = 4 * 2**20
_TRIES = 4
_PAUSE = 0.3

Open = Callable[[int], AbstractContextManager[tuple[BinaryIO, int]]]
"""From the byte to start at to a stream, and the byte that it really starts at (0 where a server cannot resume)."""


def fetch(source: Open, target: Path, file: FileRecord, where: str, progress: Progress, *, anew: bool = False) -> Path:
    """Put the file at ``target`` unless it is there already.

    What is at ``target`` is replaced only by a file that was checked. A cut download stays beside it as ``.part`` and
    is gone on with by the next call.

    Args:
        source: Opens the remote file.
        target: Where it goes.
        file: Its size and sha256, as far as known.
        where: Its address, for messages.
        progress: Shows how far it is.
        anew: Fetch it even so: what is there may be of another version.

    Raises:
        ZooUnreachable: The connection was cut, again and again.
        ZooError: Its bytes are not those of the manifest, or it is too large.
    """
    if not anew and cache.matches(target, file):
        return target
    with cache.locked(target):
        if not anew and cache.matches(target, file):  # another process was faster
            return target
        if not anew and target.exists():
            logger.warning("%s: the cached copy is damaged; it is fetched again", target)
        part = target.with_name(f".{target.name}.part")
        resumed = _resumable(part, file)
        _download(source, part, file, where, progress)
        problem = _problem(part, file)
        if problem and resumed:  # the first half may be of another version
            part.unlink(missing_ok=True)
            _download(source, part, file, where, progress)
            problem = _problem(part, file)
        if problem:
            _forget(part)
            raise ZooError(f"{where}: {problem}: damaged on the way or changed at its root; nothing was kept of it")
        with cache.told(target):
            os.chmod(part, 0o666 & ~cache.umask())
            os.replace(part, target)
        _note(part).unlink(missing_ok=True)
    return target


def _download(source: Open, part: Path, file: FileRecord, where: str, progress: Progress) -> None:
    limit = MAX_BYTES if file.size is None else file.size
    for attempt in range(_TRIES):
        if part.exists() and part.stat().st_size == file.size:
            return
        try:
            _append(source, part, file, where, progress, limit)
        except ZooUnreachable as error:
            now = part.stat().st_size if part.exists() else 0
            if attempt == _TRIES - 1:
                kept = f"; {now:,} bytes are kept, the next try goes on there" if now else ""
                reason = str(error).removeprefix(f"{where}: ")
                raise ZooUnreachable(f"{where}: not fetched in {_TRIES} tries, the last: {reason}{kept}") from None
            time.sleep(_PAUSE * 2**attempt)
        else:
            return


def _append(source: Open, part: Path, file: FileRecord, where: str, progress: Progress, limit: int) -> None:
    done = part.stat().st_size if part.exists() else 0
    with source(done) as (stream, start), cache.told(part), _opened(part, start) as out:
        total = start
        with progress(part.name[1:-5], file.size, start) as step:
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if total > limit:
                    raise ZooError(f"{where}: larger than the {limit:,} bytes that were announced")
                out.write(chunk)
                step(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    if file.size is not None and total < file.size:
        raise ZooUnreachable(f"{where}: cut at {total:,} of {file.size:,} bytes")


def _opened(part: Path, start: int) -> BinaryIO:
    out = part.open("r+b" if part.exists() else "wb")
    out.truncate(start)
    out.seek(start)
    return out


def _resumable(part: Path, file: FileRecord) -> bool:
    """Whether a beginning of this very version is there; one of another version is removed."""
    mark = json.dumps([file.sha256, file.size, file.tag])
    known = file.sha256 is not None or file.tag is not None
    note = _note(part)
    try:
        same = known and part.exists() and note.read_text(encoding="utf-8") == mark
    except (OSError, ValueError):
        same = False
    if same and file.size is not None and part.stat().st_size > file.size:
        same = False
    if not same:
        _forget(part)
        cache.write(note, mark.encode())
    return same


def _problem(part: Path, file: FileRecord) -> str | None:
    found = hashlib.sha256()
    with cache.told(part), part.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            found.update(chunk)
        size = stream.tell()
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, the manifest says {file.size:,}"
    if file.sha256 is not None and found.hexdigest() != file.sha256:
        return f"its sha256 is {found.hexdigest()[:16]}..., the manifest says {file.sha256[:16]}..."
    return None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
