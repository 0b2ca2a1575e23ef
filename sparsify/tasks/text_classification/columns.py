"""Rows -> texts and labels: which columns, what a cell may hold, and what each problem's place is."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsify.errors import InputError
from sparsify.export.samples import PAIRS
from sparsify.tasks.cells import parse_list
from sparsify.tasks.readers import Table

logger = logging.getLogger(__name__)
Cell = str | int | float | list[str] | list[int]
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NO_TEXT = {"id", "idx", "index", "guid", "uid", "label", "labels", "label_text"}


@dataclass
class Texts:
    """One split as texts and labels.

    Attributes:
        origin: Where it comes from, for messages.
        lines: Line of each example in its file.
        texts: One text or two of each example.
        cells: Its label as read; None where the data has no labels.
        names: Names of the class ids, where the source knows them.
        tags: Its classes, names or ids, where ``settle`` found classes.
        values: Its number, where it found numbers.
    """

    origin: str
    lines: list[int]
    texts: list[tuple[str, ...]]
    cells: list[Cell] | None
    names: list[str] | None = None
    tags: list[list[str]] | list[list[int]] | None = None
    values: list[float] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def has_ids(self) -> bool:
        """Whether classes are ids."""
        return self.tags is not None and any(isinstance(tag, int) for row in self.tags for tag in row)

    def first(self, count: int | None) -> Texts:
        """Only the first ``count`` examples (all if None)."""
        rows: list[Any] = [self.lines, self.texts, self.cells, self.tags, self.values]
        lines, texts, cells, tags, values = (None if row is None else row[:count] for row in rows)
        return Texts(self.origin, lines, texts, cells, self.names, tags, values)  # type: ignore[arg-type]

    def place(self, index: int) -> str:
        """Where an example stands, as ``file:line``."""
        return f"{self.origin}:{self.lines[index]}"


def texts(
    table: Table,
    *,
    columns: Sequence[str] | None,
    usual: Sequence[str] = (),
    label: str | None,
    labelled: bool = True,
) -> Texts:
    """Texts and labels of a table.

    Args:
        table: Rows as read.
        columns: One column of text or two; found where None.
        usual: Those that the task is known to have.
        label: Column of labels; ``label``, else ``labels`` where None.
        labelled: Whether labels are needed; without, a missing column is no error.

    Raises:
        InputError: A column does not exist (those that do are listed), there are no rows, or a cell cannot be used
            (file and line are named).
    """
    if not table.rows:
        raise InputError(f"{table.origin}: the split is empty: no row in it")
    label_column = _label_column(table, label, needed=labelled)
    chosen = _text_columns(table, columns, usual, label_column)
    read = [tuple(_text(table, i, name) for name in chosen) for i in range(len(table.rows))]
    cells = None if label_column is None else _labels(table, label_column, needed=labelled)
    names = table.class_names.get(label_column) if label_column else None
    logger.info("%s: %s -> %s", table.origin, " + ".join(chosen), label_column or "no labels")
    return Texts(table.origin, table.lines, read, cells, names)


def _text_columns(
    table: Table, asked: Sequence[str] | None, usual: Sequence[str], label: str | None
) -> tuple[str, ...]:
    if asked is not None:
        return tuple(table.column(name, "--input_column_names") for name in asked)
    for known in (tuple(usual), *PAIRS):
        if known and set(known) <= set(table.columns):
            return known
    found = tuple(c for c in table.columns if c != label and c.lower() not in _NO_TEXT and _holds_text(table, c))
    if 1 <= len(found) <= 2:
        return found
    what = f"{len(found)} columns hold text ({', '.join(found)})" if found else "no column holds text"
    raise InputError(
        f"{table.origin}: {what}; name the one or two to read with --input_column_names a,b"
        f" (there are: {', '.join(table.columns)})"
    )


def _holds_text(table: Table, column: str) -> bool:
    cells = [row.get(column) for row in table.rows[:20]]
    return all(isinstance(cell, str) for cell in cells) and not all(_looks_a_number(str(cell)) for cell in cells)


def _looks_a_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.]+", cell.strip()) is not None


def _label_column(table: Table, asked: str | None, *, needed: bool) -> str | None:
    if asked is not None and (needed or asked in table.columns):
        return table.column(asked, "--label_column_name")
    found = next((name for name in ("label", "labels") if name in table.columns), None)
    if found is None and needed:
        raise InputError(
            f"{table.origin}: no column label; name the column of labels with --label_column_name"
            f" (there are: {', '.join(table.columns)})"
        )
    return found


def _text(table: Table, index: int, column: str) -> str:
    value = table.rows[index].get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        got = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(f"{table.place(index)}: column {column}: expected text, got {got}")
    return str(value)


def _labels(table: Table, column: str, *, needed: bool) -> list[Cell] | None:
    raw = [row.get(column) for row in table.rows]
    if not needed and all(value in (None, "", -1, "-1") for value in raw):
        return None  # GLUE's test data has -1 in place of labels
    return [_label(table, i, column, value) for i, value in enumerate(raw)]


def _label(table: Table, index: int, column: str, value: Any) -> Cell:
    if isinstance(value, str) and re.fullmatch(r"\s*\[.*\]\s*", value, re.DOTALL):
        value = _listed(table, index, column, value)
    if isinstance(value, list):
        return [_class(table, index, column, one) for one in value]  # type: ignore[return-value]
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{table.place(index)}: column {column}: {value} is neither a class nor a number to learn")
    return value if isinstance(value, float) else _class(table, index, column, value)


def _listed(table: Table, index: int, column: str, text: str) -> list[Any]:
    try:
        return parse_list(text)
    except ValueError as error:
        raise InputError(f"{table.place(index)}: column {column}: {error}") from error


def _class(table: Table, index: int, column: str, value: Any) -> str | int:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else text
    got = "nothing" if value is None or value == "" else repr(value)
    raise InputError(f"{table.place(index)}: column {column}: {got} is neither a class nor a number")
