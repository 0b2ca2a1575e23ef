"""Rows of text whose cells are separated by commas, semicolons or tabs, each with its line number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from sparsify.errors import InputError

Row = tuple[int, dict[str, str]]


def comma_separated(origin: str, text: str) -> Iterator[Row]:
    """Rows of a CSV file; the first line tells which separator it has.

    Args:
        origin: The file, for messages.
        text: What it holds.

    Raises:
        InputError: A row that cannot be read (named).
    """
    first = text.lstrip("\r\n").split("\n", 1)[0]
    return _rows(origin, text, max(",;\t", key=first.count), quoted=True)


def tab_separated(origin: str, text: str) -> list[Row]:
    """Rows of a TSV file, whether quotation marks enclose its cells or belong to the text.

    Spreadsheets enclose cells; the files of GLUE and many corpora have quotation marks as they come. Marks are text
    where reading them as enclosing fails, or swallows line ends between rows that are whole without it.

    Args:
        origin: The file, for messages.
        text: What it holds.

    Raises:
        InputError: A row that can be read neither way (named; as if marks enclosed cells).
    """
    if '"' not in text:
        return list(_rows(origin, text, "\t", quoted=False))
    try:
        enclosed = list(_rows(origin, text, "\t", quoted=True))
    except InputError as error:
        try:
            return list(_rows(origin, text, "\t", quoted=False))
        except InputError:
            raise error from None
    try:
        literal = list(_rows(origin, text, "\t", quoted=False))
    except InputError:
        return enclosed
    return literal if len(literal) > len(enclosed) else enclosed


def _rows(origin: str, text: str, delimiter: str, *, quoted: bool) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    lines = io.StringIO(text, newline="")
    if quoted:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE)
    try:
        header = next((cells for cells in reader if cells), [])
        _once(f"{origin}:{reader.line_num}", header)
        for cells in reader:
            blank = not cells or (len(header) > 1 and len(cells) == 1 and not cells[0].strip())
            if not blank and len(cells) != len(header):
                raise InputError(
                    f"{origin}:{reader.line_num}: the row has {len(cells)} cells, and the header {len(header)}"
                )
            if not blank:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{origin}:{reader.line_num}: not a readable CSV file: {error}") from error


def _once(place: str, header: list[str]) -> None:
    twice = next((name for name in header if name.strip() and header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{place}: the header has two columns {twice!r}: rename one, or take it out")
