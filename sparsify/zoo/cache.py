"""The cache: files of remote roots, kept by root, entry and revision; written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from filelock import FileLock

from sparsify.errors import ZooError
from sparsify.zoo.manifest import FileRecord, digest
from sparsify.zoo.names import shown

_verified: set[tuple[str, int, int, int, int, str]] = set()
_asking_umask = threading.Lock()


def root_folder(cache: Path, url: str) -> Path:
    """Folder of one root; its name tells nothing of the address."""
    return cache / "roots" / hashlib.sha256(shown(url).rstrip("/").encode()).hexdigest()[:16]


def revision_folder(entry: Path, revision: str) -> Path:
    """Folder of one revision of an entry; ``@`` cannot stand in a stub."""
    return entry / f"@{revision}"


def write(path: Path, data: bytes) -> None:
    """Write a file in one step.

    Raises:
        ZooError: The disk is full or the folder cannot be written.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o666 & ~umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def umask() -> int:
    """The process's file mode mask."""
    with _asking_umask:  # two at once would leave each other's mask behind
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder against other processes; waits for whoever has it.

    Raises:
        ZooError: The lock cannot be made.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def matches(path: Path, file: FileRecord) -> bool:
    """Whether a file has the size and content that the record says; content is read once per change of the file."""
    try:
        stat = path.stat()
        if not path.is_file() or (file.size is not None and stat.st_size != file.size):
            return False
        if file.sha256 is None:
            return True
        # copies that keep times (cp -p, rsync -t) are told by inode and time of change
        key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, file.sha256)
        if key not in _verified:
            if digest(path) != file.sha256:
                return False
            _verified.add(key)
    except OSError:
        return False
    return True


def under(root: Path, path: PurePosixPath) -> Path:
    """Folder of an entry in the cache."""
    return root.joinpath(*path.parts)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the file system says into one message."""
    try:
        yield
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
