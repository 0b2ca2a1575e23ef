"""Rows -> texts."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.errors import InputError
from sparsify.tasks.readers import Table


@dataclass
class Texts:
    """One split as texts.

    Attributes:
        origin: Where it comes from, for messages.
        texts: Those that are not blank.
    """

    origin: str
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int | None) -> Texts:
        """Only the first ``count`` texts (all if None)."""
        return Texts(self.origin, self.texts[:count])


def texts(table: Table, column: str | None) -> Texts:
    """Texts of a table; blank ones are left out.

    Args:
        table: Rows as read.
        column: Column of texts; found where None.

    Raises:
        InputError: There is no such column (those that are there get listed), a cell holds no text (its place is
            named), or nothing is left.
    """
    name = _column(table, column)
    cells = [row.get(name) for row in table.rows]
    wrong = next((i for i, cell in enumerate(cells) if not isinstance(cell, str | None)), None)
    if wrong is not None:
        got = type(cells[wrong]).__name__
        raise InputError(f"{table.place(wrong)}: column {name}: expected text, got a {got}")
    kept = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    if not kept:
        raise InputError(f"{table.origin}: the split is empty: no text in it")
    return Texts(table.origin, kept)


def _is_text(cell: object) -> bool:
    # in a CSV file numbers are text too, and the first column is often one of ids
    return isinstance(cell, str) and any(letter.isalpha() for letter in cell)


def _column(table: Table, asked: str | None) -> str:
    if asked is not None:
        return table.column(asked, "--text_column_name")
    holding = [c for c in table.columns if any(_is_text(row.get(c)) for row in table.rows[:20])]
    if "text" in table.columns or not holding:
        return table.column("text", "--text_column_name")
    return holding[0]
