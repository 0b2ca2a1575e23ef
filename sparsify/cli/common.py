"""What every command shares: one way to end, one way to speak."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console

from sparsify.errors import SparsifyError, system_errno

INTERRUPTED = 130
UNEXPECTED = 3

TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM ended the work cleanly; the text says how to go on."""


Main = Callable[[list[str]], "int | None"]


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Call a command's body and turn how it ends into an exit code and at most one short message.

    ``--traceback`` anywhere in the arguments is taken out of them and lets errors through to the interpreter.

    Args:
        main: The command's body: takes the arguments, returns an exit code or None for 0.
        argv: Arguments without the program's name; ``sys.argv[1:]`` if None.

    Returns:
        0 done, 1 a check failed, 2 bad input, 3 an unexpected error (a traceback is left in a file), 130 interrupted,
        143 terminated.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    show = "--traceback" in args
    args = [a for a in args if a != "--traceback"]
    try:
        with speaking():
            return main(args) or 0
    except SystemExit as stop:  # argparse: --help and its own errors
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else _said(str(stop.code))
    except BrokenPipeError:  # `sparsify-... --help | head`: nobody listens any more
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes stdout once more on exit
        return 0
    except (SparsifyError, KeyboardInterrupt, Exception) as error:
        if show:
            raise
        return explain(error)


def explain(error: BaseException) -> int:
    """Print ``error`` as one short message to standard error and return the exit code that goes with it."""
    if isinstance(error, SparsifyError):
        return _said(str(error), error.exit_code)
    if isinstance(error, Terminated):
        return _said(f"terminated: {error}", TERMINATED)
    if isinstance(error, KeyboardInterrupt):
        return _said("interrupted" + (f": {error}" if str(error) else ""), INTERRUPTED)
    if isinstance(error, OSError) and error.errno in _EVERYDAY:
        where = f": {error.filename}" if error.filename else ""
        return _said(f"{error.strerror}{where}", 2)
    if (code := system_errno(error)) is not None:
        return _said(f"{os.strerror(code)}: while weights were read or written", 2)
    return _said(
        f"unexpected {type(error).__name__}: {error}\n"
        f"The traceback is in {_leave_traceback(error)} (--traceback shows it). This may be a bug in sparsify.",
        UNEXPECTED,
    )


def error_console() -> Console:
    """The console that messages go to (standard error)."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def console() -> Console:
    """The console that results go to (standard output)."""
    return Console(highlight=False)


def say(message: str) -> None:
    """Print one line for the user to standard error."""
    error_console().print(message, markup=False)


def counted(count: int, noun: str) -> str:
    """A number and what is counted, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """While inside, what the library logs at INFO and above is printed, one line each."""
    logger, handler = logging.getLogger("sparsify"), _Printer()
    if any(isinstance(h, _Printer) for h in logger.handlers):  # a command within a command: one voice is enough
        yield
        return
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Printer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if int(os.environ.get("RANK", "0")) == 0:  # one voice where several processes train
            prefix = "warning: " if record.levelno >= logging.WARNING else ""
            say(prefix + record.getMessage())


_EVERYDAY = {
    errno.ENOSPC,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EFBIG,
    errno.ELOOP,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EDQUOT,
}


def _said(message: str, code: int = 2) -> int:
    console = error_console()
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)
    return code


def _leave_traceback(error: BaseException) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="sparsify-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.writelines(traceback.format_exception(error))
    return file.name
