from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.readers import Table
from sparsify.tasks.text_classification.columns import Texts, texts


def table(*rows: dict[str, Any], **class_names: list[str]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Table("data.csv", columns, list(rows), list(range(2, len(rows) + 2)), class_names)


def read(*rows: dict[str, Any], **options: Any) -> Texts:
    return texts(table(*rows), **{"columns": None, "label": None, **options})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"text": "a b", "label": 1}, ("a b",)),
        ({"idx": "7", "sentence": "a b", "label": 1}, ("a b",)),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, ("a", "b")),
        ({"label": 0, "question": "q", "sentence": "s"}, ("q", "s")),
        ({"sentence": "s", "question": "q", "other": "x", "label": 0}, ("q", "s")),
        ({"first": "a", "second": "b", "label": 1, "number": "12.5"}, ("a", "b")),
        ({"text": "a b", "label": 1, "label_text": "good"}, ("a b",)),
    ],
)
def test_columns_of_text_are_found(row: dict[str, Any], found: tuple[str, ...]) -> None:
    assert read(row).texts == [found]


def test_the_columns_of_the_task_come_first() -> None:
    row = {"question": "q", "sentence": "s", "label": 0}
    assert read(row, usual=("sentence",)).texts == [("s",)]
    assert read(row, usual=("premise", "hypothesis")).texts == [("q", "s")]


def test_columns_asked_for_hold_in_their_order() -> None:
    row = {"question": "q", "sentence": "s", "label": 0}
    assert read(row, columns=["sentence", "question"]).texts == [("s", "q")]
    with pytest.raises(InputError, match=r"no column 'sentense' \(--input_column_names\).*did you mean sentence\?"):
        read(row, columns=["sentense"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"a": "x", "b": "y", "c": "z", "label": 1}, r"3 columns hold text \(a, b, c\).*--input_column_names"),
        ({"a": 1, "label": 1}, "no column holds text"),
        ({"text": "x"}, "no column label; name the column of labels with --label_column_name"),
        ({"text": "x", "label": None}, r"data\.csv:2: column label: nothing is neither a class nor a number"),
        ({"text": "x", "label": {"a": 1}}, "is neither a class nor a number"),
        ({"text": "x", "label": "['a' 'b' ... 'z']"}, r"data\.csv:2: column label: an abbreviated list"),
    ],
)
def test_what_cannot_be_used_is_told(row: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(row)


def test_a_missing_text_names_its_line() -> None:
    with pytest.raises(InputError, match=r"data\.csv:3: column text: expected text, got nothing"):
        read({"text": "x", "label": 1}, {"text": None, "label": 0}, columns=["text"])


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("3", 3), (" 3 ", 3), (-1, -1), ("3.0", 3.0), (2.5, 2.5), ("1e-3", 1e-3), ("yes", "yes"), (True, "true"),
        (["a", "b"], ["a", "b"]), ("[sic", "[sic"), ('["a", "b"]', ["a", "b"]), ("['a' 'b']", ["a", "b"]), ("[0, 2]", [0, 2]), ([], []),
    ],
)  # fmt: skip
def test_labels(cell: Any, found: Any) -> None:
    cells = read({"text": "x", "label": cell}).cells
    assert cells == [found]
    assert cells is not None
    assert type(cells[0]) is type(found)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_written_as_text_come_back(number: float) -> None:
    cells = read({"text": "x", "label": repr(number)}).cells
    assert cells == [number]


@given(st.integers())
def test_ids_written_as_text_come_back(number: int) -> None:
    assert read({"text": "x", "label": str(number)}).cells == [number]


@pytest.mark.parametrize("nothing", [None, "", -1, "-1"])
def test_test_data_may_lack_labels(nothing: Any) -> None:
    rows = [{"text": "x", "label": nothing}, {"text": "y", "label": nothing}]
    assert read(*rows, labelled=False).cells is None
    assert read({"text": "x"}, labelled=False, label="mood").cells is None


def test_class_ids_keep_the_names_that_the_source_knows() -> None:
    found = texts(table({"text": "x", "label": 1}, label=["no", "yes"]), columns=None, label=None)
    assert found.names == ["no", "yes"]


def test_the_first_few() -> None:
    found = read({"text": "x", "label": 1}, {"text": "y", "label": 0})
    assert (found.first(1).texts, found.first(1).cells, len(found.first(None))) == ([("x",)], [1], 2)


@pytest.mark.parametrize("cell", [float("nan"), float("inf"), "1e999", "-1e999"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_label_without_a_finite_value_is_refused(cell: Any, labelled: bool) -> None:
    with pytest.raises(InputError, match=r"data\.csv:3: column label: -?(nan|inf) is neither a class nor a number"):
        read({"text": "x", "label": 0.5}, {"text": "y", "label": cell}, labelled=labelled)
