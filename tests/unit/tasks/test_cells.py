from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.tasks.cells import parse_list

WORD = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1)


@given(st.lists(WORD))
def test_lists_written_as_json_or_python_come_back(words: list[str]) -> None:
    assert parse_list(json.dumps(words)) == words
    assert parse_list(repr(words)) == words


@given(st.lists(WORD, min_size=1))
def test_lists_written_as_numpy_prints_them_come_back(words: list[str]) -> None:
    assert parse_list("[" + " ".join(map(repr, words)) + "]") == words


@given(st.lists(st.integers(min_value=0, max_value=99)))
def test_class_ids_come_back_with_or_without_commas(ids: list[int]) -> None:
    assert parse_list(json.dumps(ids)) == ids
    assert parse_list("[" + " ".join(map(str, ids)) + "]") == ids


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("Ada slept", ["Ada", "slept"]),
        ("", []),
        ("[]", []),
        ("[ sic ]", ["[", "sic", "]"]),
        ("['a'\n 'b']", ["a", "b"]),
        ("""['it\\'s', "it's"]""", ["it's", "it's"]),
    ],
)
def test_cells(cell: str, found: list[str]) -> None:
    assert parse_list(cell) == found
