"""Replace a folder whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparsify.errors import InputError

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


@contextlib.contextmanager
def replaced_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """Give an empty folder beside ``target`` to fill; when the block ends well, it takes ``target``'s place.

    When the block raises (Ctrl-C too) ``target`` stays as it was. Where the system can exchange two names in one call
    there is no moment without a whole ``target``; elsewhere the next call puts an interrupted swap right.

    Args:
        target: The folder to create or replace.
        marker: A JSON file in it that lists under ``files`` what this program wrote. Other files are carried over.

    Raises:
        InputError: ``target`` cannot be written, or holds files but no ``marker``, so it is someone else's.
    """
    try:
        target = target.resolve()  # through a link into the folder that it leads to, and "." by its name
        if target == Path.cwd():  # whoever stands in it would be left in the folder that goes
            raise InputError(f"{target}: is the current folder, which cannot be replaced. Choose another --output_dir.")
        target.parent.mkdir(parents=True, exist_ok=True)
        _clean_up(target)
        _refuse_foreign(target, marker)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-{os.getpid()}-", dir=target.parent))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{target}: cannot be written: {reason}. Choose another --output_dir.") from error
    try:
        work.chmod(0o777 & ~_umask())
        yield work
        _carry_over(target, work, marker)
        _sync(work)
        _swap(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refuse_foreign(target: Path, marker: str) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file, not a folder. Choose another --output_dir.")
    if target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
        raise InputError(
            f"{target}: holds files but no {marker}, so it is no earlier export. Replacing it would delete them:"
            " choose another --output_dir, or empty it."
        )


def _carry_over(target: Path, work: Path, marker: str) -> None:
    """Copy what a user put into the old folder, so that a new export does not delete it."""
    try:
        ours = {*json.loads((target / marker).read_text(encoding="utf-8"))["files"], marker}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for entry in target.iterdir():
        if entry.name in ours or (work / entry.name).exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, work / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, work / entry.name, follow_symlinks=False)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder, folder.parent]:
        if path.is_symlink():
            continue
        with contextlib.suppress(PermissionError):  # some file systems do not let folders be opened
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _swap(work: Path, target: Path) -> None:
    if not target.exists():
        work.rename(target)
        return
    if _exchange(work, target):
        return
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    target.rename(old)
    try:
        work.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one system call (Linux); False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _clean_up(target: Path) -> None:
    """Undo what a killed process left: half-made folders go, a folder caught in mid-swap comes back."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*-*"):
        kind, _, owner = left.name[len(target.name) + 2 :].partition("-")
        if kind not in ("new", "old") or _alive(owner.partition("-")[0]):
            continue
        if kind == "old" and not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
