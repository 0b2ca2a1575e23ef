"""Every error that sparsify raises on purpose: one base class, so that a command can print it without a traceback."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


class SparsifyError(Exception):
    """Base of all errors a user can cause or must hear of.

    Attributes:
        exit_code: What a command exits with when this error ends it.
    """

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a recipe: what, where (1-based line and column), and what to do."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file or "recipe"
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        at = f" ({self.path})" if self.path else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{place}: {self.message}{at}{hint}"


class RecipeError(SparsifyError):
    """A recipe cannot be used; carries every problem found in it, not just the first."""

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @property
    def file(self) -> str | None:
        """File of the first problem."""
        return self.problems[0].file

    @property
    def line(self) -> int | None:
        """Line (from 1) of the first problem."""
        return self.problems[0].line

    @property
    def column(self) -> int | None:
        """Column (from 1) of the first problem."""
        return self.problems[0].column

    @property
    def path(self) -> str | None:
        """Recipe path (``group[0].field``) of the first problem."""
        return self.problems[0].path

    @property
    def hint(self) -> str | None:
        """What to do about the first problem."""
        return self.problems[0].hint


class InputError(SparsifyError):
    """A flag, file, data set or model that the user gave cannot be used."""


class StateError(SparsifyError):
    """Saved training state does not fit the recipe or the model it is loaded into."""


class ExportError(SparsifyError):
    """A model cannot be exported."""


class ZooError(SparsifyError):
    """A zoo stub is malformed, nothing was found for it, or what was found cannot be trusted."""


class ZooUnreachable(ZooError):
    """A zoo's root did not answer, or not as it should; another root, or the cache, may still have the entry."""


class CheckFailed(SparsifyError):
    """A check that was asked for (parity, verification, accuracy gate) did not pass."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """What an error says: its first line, with the next where it announces one; its class where it says nothing."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{first} {rest[0]}" if rest and first.endswith(":") else first


def reason(error: BaseException) -> str:
    """An error's class and ``first_line``."""
    name, text = type(error).__name__, first_line(error)
    return name if text == name else f"{name}: {text}"


def system_errno(error: BaseException) -> int | None:
    """Number of the operating system's error that safetensors tells in the text of one of its own; None: of none."""
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return None if found is None else int(found[1])
