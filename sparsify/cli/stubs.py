"""Stubs where a command takes a path, and the flags of every command that looks into a zoo."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from sparsify.cli import common
from sparsify.errors import InputError
from sparsify.zoo.names import expanded
from sparsify.zoo.registry import is_stub, resolve, resolve_model
from sparsify.zoo.settings import using

_WORTH_A_BAR = 4 * 2**20
ZOO_HELP = "folder or address of a zoo to look in first (again for more)"
OFFLINE_HELP = "never use the network: caches only"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--zoo`` and ``--offline``."""
    parser.add_argument("--zoo", action="append", default=[], metavar="ROOT", help=ZOO_HELP)
    parser.add_argument("--offline", action="store_true", default=None, help=OFFLINE_HELP)


@contextlib.contextmanager
def zoo(roots: Sequence[str] | None = None, offline: bool | None = None) -> Iterator[None]:
    """While inside, stubs are looked up in these roots first; large files show a bar on a terminal.

    Raises:
        InputError: One of the roots is a folder that does not exist.
    """
    for root in roots or ():
        if "://" not in root and not expanded(root).is_dir():
            raise InputError(f"--zoo {root}: no such folder")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    shows = common.error_console().is_terminal
    with using(roots or (), offline or None, bar if shows else None):
        yield


@contextlib.contextmanager
def bar(label: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """A progress bar for one file; none for a small one."""
    if total is not None and total < _WORTH_A_BAR:
        yield lambda count: None
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        *(
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        ),
    )
    with progress.Progress(*columns, console=common.error_console(), transient=True) as shown:
        task = shown.add_task(label, total=total, completed=done)
        yield lambda count: shown.advance(task, count)


def model_path(name: str) -> str:
    """A path as it is; the model folder of a stub."""
    return str(resolve_model(name)) if is_stub(name) else name


def deployment_path(name: str) -> str:
    """A path as it is; the deployment folder of a stub."""
    return str(resolve(name).deployment()) if is_stub(name) else name


def benchmark_path(name: str) -> str:
    """A path as it is; of a stub the deployment, or the model where it has none."""
    if not is_stub(name):
        return name
    entry = resolve(name)
    return str(entry.deployment() if entry.has_deployment else entry.training())
