"""Cells between commas, semicolons and tabs; quotation marks that enclose, and those that belong to the text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.delimited import comma_separated, tab_separated

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"])
)
def test_csv_keeps_any_cell(rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    text = io.StringIO(newline="")
    written = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    written.writerows([("text", "label"), *rows])
    found = [row for _, row in comma_separated("a.csv", text.getvalue())]
    assert found == [{"text": one, "label": other} for one, other in rows]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_tsv_with_enclosed_cells_keeps_any_cell_without_a_tab(rows: list[tuple[str, str]]) -> None:
    rows = [(one.replace("\t", ""), other.replace("\t", "")) for one, other in rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    found = [row for _, row in tab_separated("a.tsv", text.getvalue())]
    assert found == [{"text": one, "label": other} for one, other in rows]


WORDS = st.text(st.characters(codec="utf-8", exclude_characters='\x00\t\r\n"'), min_size=1, max_size=8)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.data())
def test_tsv_with_one_loose_quotation_mark_keeps_every_cell(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """As in GLUE's files: wherever it stands, even at the start of a cell, which a later mark would close."""
    at = data.draw(st.integers(0, len(rows) - 1))
    word = rows[at][0]
    cut = data.draw(st.integers(0, len(word)))
    rows[at] = (f'{word[:cut]}"{word[cut:]}', rows[at][1])
    text = "text\tlabel\n" + "".join(f"{one}\t{other}\n" for one, other in rows)
    found = tab_separated("a.tsv", text)
    blank = [row for row in rows if not row[0].strip() and not row[1].strip()]
    assert len(found) == len(rows) or blank
    assert [row["text"] for _, row in found] == [one for one, _ in rows] or blank


def test_marks_that_pair_up_across_rows_are_text() -> None:
    text = 'a\tb\n"one\tx\ntwo\ty\nthree"\tz\n'
    assert [(line, row["a"]) for line, row in tab_separated("a.tsv", text)] == [(2, '"one'), (3, "two"), (4, 'three"')]


def test_a_line_end_inside_an_enclosed_cell_is_kept() -> None:
    assert list(tab_separated("a.tsv", 'a\tb\n"one\ntwo"\tx\n')) == [(3, {"a": "one\ntwo", "b": "x"})]


@pytest.mark.parametrize("read", [comma_separated, tab_separated])
def test_a_short_row_is_named(read: Callable[[str, str], Iterable[object]]) -> None:
    with pytest.raises(InputError, match=r"^f:3: the row has 1 cells, and the header 2$"):
        list(read("f", "a\tb\n1\t2\n3\n"))
