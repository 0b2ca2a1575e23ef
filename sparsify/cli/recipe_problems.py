"""Problems of a recipe as text: the message, the line it is about, and a caret below the place."""

from __future__ import annotations

import re
from pathlib import Path

from sparsify.errors import Problem

_LONGEST = 120
_TOKEN = re.compile(r"[^\s,:\[\]{}()]+")


def rendered(problem: Problem) -> str:
    """The problem with its source line and a caret, where the file can be read."""
    excerpt = _excerpt(problem)
    if not excerpt:
        return str(problem)
    head, *hint = str(problem).split("\n")
    return "\n".join([head, *excerpt, *hint])


def _excerpt(problem: Problem) -> list[str]:
    line = _source_line(problem)
    if line is None or problem.column is None:
        return []
    column = problem.column - 1
    match = _TOKEN.match(line, column)
    width = match.end() - match.start() if match else 1
    first = max(0, column - _LONGEST // 2) if len(line) > _LONGEST else 0
    shown = line[first : first + _LONGEST]
    margin = f"{problem.line:>6} | "
    return [f"{margin}{shown}", f"{' ' * (len(margin) - 2)}| {' ' * (column - first)}{'^' * min(width, _LONGEST)}"]


def _source_line(problem: Problem) -> str | None:
    if problem.file is None or problem.line is None:
        return None
    try:
        lines = Path(problem.file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return None
    if problem.line > len(lines) or (problem.column or 0) > len(lines[problem.line - 1]) + 1:
        return None
    return lines[problem.line - 1].replace("\t", " ")
