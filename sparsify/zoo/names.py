"""What names of files and addresses may be: nothing leaves the folder it belongs to, no secret is shown."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from sparsify.errors import ZooError

MAX_FILES = 10_000
MAX_BYTES = 64 * 2**30
"""Largest single file that is fetched."""
_PART = re.compile(r"(?![. ])[\w@+=,()~. -]{1,120}(?<![. ])")
_DEEPEST = 12
_LONGEST = 200
"""Bytes of one name: 255 is what file systems take, and a download puts something around it."""
_NO_USER = ("github", "git")
"""Protocols whose address has a repository where others have a user."""
_SECRET = re.compile(r"(?i)([?&#][^\s'\"]*)|((?<=://)[^/\s'\"@]+@)")


def safe(name: object, where: str) -> PurePosixPath:
    """A relative path of an entry or archive, proven to stay inside.

    Args:
        name: What the manifest, listing or archive says.
        where: Whose name it is, for the message.

    Raises:
        ZooError: Absolute, with dots, hidden, with signs that a file system or a URL takes otherwise, too long.
    """
    if not isinstance(name, str):
        raise ZooError(f"{where}: a file's name is text, got {type(name).__name__}")
    parts = name.split("/")
    fits = len(parts) <= _DEEPEST and all(_PART.fullmatch(part) and len(part.encode()) <= _LONGEST for part in parts)
    if not fits or len(name.encode()) > 500:
        raise ZooError(
            f"{where}: refused the file name {name[:80]!r}: it may not leave its folder, be hidden, very long"
            " or hold odd signs"
        )
    return PurePosixPath(name)


def safe_set(names: Iterable[object], where: str) -> None:
    """Prove that files of these names can lie beside each other, on every file system.

    Raises:
        ZooError: One is unsafe, two are the same but for case, or one is a folder of another.
    """
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        path = safe(name, where)
        folded = _folded(path)
        if folded in files:
            raise ZooError(f"{where}: two files are named {str(path)!r}")
        files.add(folded)
        folders |= {_folded(parent) for parent in path.parents}
        if len(files) > MAX_FILES:
            raise ZooError(f"{where}: more than {MAX_FILES} files")
    if both := files & folders:
        raise ZooError(f"{where}: {min(both)!r} is a file and a folder")


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def inside(root: Path, name: PurePosixPath | str) -> Path:
    """``root/name``, after links are followed still below ``root``.

    Raises:
        ZooError: A link leads out of it.
    """
    path = root / name
    try:
        real, top = os.path.realpath(path), os.path.realpath(root)
    except (OSError, ValueError) as error:
        raise ZooError(f"{root}: {str(name)[:80]!r} cannot be followed ({error})") from error
    if os.path.commonpath([real, top]) != top:
        raise ZooError(f"{path}: leads out of {root} (to {real}); links must stay inside the zoo's root")
    return path


def shown(url: str) -> str:
    """An address as it may be shown: without user, password, query and fragment."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<an address that cannot be read>"
    host = parts.netloc if parts.scheme in _NO_USER else parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` replaced; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def redacted(text: str) -> str:
    """A library's message without the queries and users of the addresses in it."""
    return _SECRET.sub("", text)
