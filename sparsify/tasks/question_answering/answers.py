"""Answers as people write them into a cell, and where they stand in their context."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that answers a question.

    Attributes:
        text: As given.
        start: Its first character in the context, as given; None where that is not said.
    """

    text: str
    start: int | None = None


def parse_answers(cell: Any, start: Any = None) -> list[Answer]:
    """The answers that a cell holds; none for an empty one.

    Args:
        cell: ``{"text": [...], "answer_start": [...]}``, a list of ``{"text": ..., "answer_start": ...}``, one text or
            several, or any of these as JSON or Python text.
        start: First character of a single text, from a column of its own.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(cell, str):
        cell = _literal(cell)
    if cell is None or cell == "" or cell == []:
        return []
    if isinstance(cell, str):
        return [Answer(cell, _place(start))]
    if isinstance(cell, Mapping):
        return _from_columns(cell)
    if isinstance(cell, Sequence):
        return [_one(item) for item in cell]
    raise ValueError(f"expected answers, got {type(cell).__name__}")


def _literal(text: str) -> Any:
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return stripped
    for read in (json.loads, ast.literal_eval):
        try:
            return read(stripped)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    if stripped.startswith("{"):
        raise ValueError("neither JSON nor a Python dictionary of text and answer_start")
    return stripped  # a text that begins with a bracket


def _from_columns(cell: Mapping[str, Any]) -> list[Answer]:
    if "text" not in cell:
        raise ValueError(f"answers need 'text', there is: {', '.join(map(str, cell)) or 'nothing'}")
    texts, starts = cell["text"], cell.get("answer_start")
    if isinstance(texts, str):
        texts, starts = [texts], None if starts is None else [starts]
    if starts is None:
        starts = [None] * len(texts)
    if len(texts) != len(starts):
        raise ValueError(f"{len(texts)} texts of answers and {len(starts)} of answer_start")
    return [_one({"text": text, "answer_start": start}) for text, start in zip(texts, starts, strict=True)]


def _one(item: Any) -> Answer:
    if isinstance(item, str):
        return Answer(item)
    if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
        raise ValueError(f"an answer is a text, or an object with text and answer_start, not {item!r:.60}")
    return Answer(item["text"], _place(item.get("answer_start")))


def _place(start: Any) -> int | None:
    if start is None or start == "" or isinstance(start, bool):
        return None
    try:
        place = int(start)
    except (TypeError, ValueError):
        raise ValueError(f"answer_start must be a number of characters, got {start!r}") from None
    return place if place >= 0 else None


def locate(context: str, answer: Answer) -> tuple[int, int] | None:
    """First character of an answer in its context, and the one after its last, blanks around it left out.

    Where it does not stand at ``start``, the place nearest to that; None where it stands nowhere.
    """
    text = answer.text.strip()
    if not text:
        return None
    wanted = answer.start or 0
    wanted += len(answer.text) - len(answer.text.lstrip())
    if context.startswith(text, wanted):
        return wanted, wanted + len(text)
    before = context.rfind(text, 0, wanted + len(text))
    after = context.find(text, wanted)
    found = [place for place in (before, after) if place >= 0]
    if not found:
        return None
    place = min(found, key=lambda p: abs(p - wanted))
    return place, place + len(text)
