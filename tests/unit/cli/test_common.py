from __future__ import annotations

import errno
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from sparsify.cli import common
from sparsify.errors import CheckFailed, InputError, Problem, RecipeError


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def main(argv: list[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_the_body_returns_is_the_exit_code(returned: int | None, code: int) -> None:
    assert common.run(lambda argv: returned, []) == code


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("no file [x]"), 2, "error: no file [x]\n"),
        (CheckFailed("not equal"), 1, "error: not equal\n"),
        (RecipeError(Problem("unknown field", "r.yaml", 3, 5)), 2, "error: r.yaml:3:5: unknown field\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (common.Terminated("to go on: do this"), 143, "error: terminated: to go on: do this\n"),
        (KeyboardInterrupt("to go on: do this"), 130, "error: interrupted: to go on: do this\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 2, "error: No space left on device: /tmp/x\n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2, "error: File name too long: x\n"),
        (FileExistsError(errno.EEXIST, "File exists", "out"), 2, "error: File exists: out\n"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            2,
            "error: No space left on device: while weights were read or written\n",
        ),
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("bad"), 2, "error: bad\n"),
    ],
)
def test_errors_are_one_message(error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert common.run(raising(error), []) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", told)


def test_an_unexpected_error_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert common.run(raising(ZeroDivisionError("division by zero")), []) == common.UNEXPECTED
    said = capsys.readouterr().err
    assert said.startswith("error: unexpected ZeroDivisionError: division by zero")
    match = re.search(r"in (\S+\.txt)", said)
    assert match is not None
    left = Path(match[1])
    assert "Traceback (most recent call last)" in left.read_text()
    left.unlink()


def test_traceback_lets_errors_through_and_is_no_argument() -> None:
    seen: list[list[str]] = []

    def main(argv: list[str]) -> None:
        seen.append(argv)
        raise InputError("bad")

    with pytest.raises(InputError):
        common.run(main, ["a", "--traceback", "b"])
    assert seen == [["a", "b"]]


def test_what_the_library_logs_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("sparsify.some.module")

    def main(argv: list[str]) -> None:
        logger.info("one [line]")
        logger.warning("another")
        logger.debug("nothing")

    common.run(main, [])
    assert capsys.readouterr().err == "one [line]\nwarning: another\n"
    monkeypatch.setenv("RANK", "1")
    common.run(main, [])
    assert capsys.readouterr().err == ""


def test_a_command_within_a_command_says_things_once(capsys: pytest.CaptureFixture[str]) -> None:
    def inner(argv: list[str]) -> None:
        logging.getLogger("sparsify").info("said")

    common.run(lambda argv: common.run(inner, []), [])
    assert capsys.readouterr().err == "said\n"


def test_the_logger_is_as_before_afterwards() -> None:
    logger: Any = logging.getLogger("sparsify")
    before = (list(logger.handlers), logger.level, logger.propagate)
    common.run(raising(InputError("bad")), [])
    assert (list(logger.handlers), logger.level, logger.propagate) == before


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert common.run(raising(BrokenPipeError()), []) == 0
