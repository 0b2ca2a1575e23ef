"""Module names of Neural Compressor (searched regular expressions) as parameter selectors of a recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparsify.errors import Problem, RecipeError

_PLAIN = re.compile(r"[\w.-]+")
_FLAGS = re.compile(r"\(\?([aimsux]+)\)")
_END = r"\.weight$"
_EVERYTHING = ("", ".*", ".+", "^.*$")


def is_everything(patterns: Sequence[str]) -> bool:
    """Whether the patterns name all modules: there are none, or one of them matches any name."""
    return not patterns or any(pattern in _EVERYTHING for pattern in patterns)


def selectors(patterns: Sequence[str]) -> list[str]:
    """Selectors of the weights of all modules in whose name ``re.search`` finds one of the patterns."""
    return [selector(pattern) for pattern in patterns]


def selector(pattern: str) -> str:
    """One such selector.

    A recipe's pattern is matched from the start of a parameter's name, of which the module's is the part before
    ``.weight``: what is searched may begin anywhere and must end before that.
    """
    flags = _FLAGS.match(pattern)
    body = _outer(_anchored(pattern[flags.end() :] if flags else pattern))
    if flags:  # those of a whole pattern may not stand within another
        return f"re:.*(?{flags[1]}:{body}).*{_END}"
    body = body if _PLAIN.fullmatch(body) else f"(?:{body})"
    return f"re:.*{body}.*{_END}"


def check_patterns(patterns: Sequence[str], path: str) -> None:
    """Refuse what is no regular expression, alone or as a selector.

    Raises:
        RecipeError: One of them is not.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
            re.compile(selector(pattern).removeprefix("re:"))
        except (re.error, OverflowError, RecursionError) as error:
            raise RecipeError(Problem(f"{pattern!r} is not a regular expression: {error}", path=path)) from error


def specifics(patterns: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``others`` that name a part of what ``patterns`` name: one of these stands in them, and is shorter."""
    if is_everything(others):
        return []
    mine = [""] if is_everything(patterns) else [_outer(pattern) for pattern in patterns]
    return [other for other in others if any(one != _outer(other) and one in _outer(other) for one in mine)]


def _outer(pattern: str) -> str:
    """Without a ``.*`` at either end: a search needs none."""
    body = pattern.removeprefix("^.*")
    while body.startswith(".*"):
        body = body[2:].removeprefix("?")
    while body.endswith(".*") and not body.endswith("\\.*"):
        body = body[:-2]
    return body or ".*"


def _anchored(pattern: str) -> str:
    """``$`` and ``\\Z`` as the end of the module's name, outside of brackets and escapes."""
    found, inside, index = [], False, 0
    while index < len(pattern):
        char = pattern[index]
        step = 2 if char == "\\" else 1
        inside = (inside or char == "[") and char != "]"
        part = pattern[index : index + step]
        found.append(rf"(?={_END})" if part in ("$", r"\Z") and not inside else part)
        index += step
    return "".join(found)
