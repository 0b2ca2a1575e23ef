from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.tasks.question_answering.answers import Answer, locate, parse_answers

TWO = [Answer("Ada", 0), Answer("Bob", 8)]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ({"text": ["Ada", "Bob"], "answer_start": [0, 8]}, TWO),
        ([{"text": "Ada", "answer_start": 0}, {"text": "Bob", "answer_start": 8}], TWO),
        ('{"text": ["Ada", "Bob"], "answer_start": [0, 8]}', TWO),
        ("{'text': ['Ada', 'Bob'], 'answer_start': [0, 8]}", TWO),
        ({"text": "Ada", "answer_start": 0}, TWO[:1]),
        ({"text": ["Ada"]}, [Answer("Ada")]),
        ({"text": ["Ada"], "answer_start": ["-1"]}, [Answer("Ada")]),
        (["Ada", "Bob"], [Answer("Ada"), Answer("Bob")]),
        ("Ada", [Answer("Ada")]),
        ("[sic] he said", [Answer("[sic] he said")]),
        ({"text": [], "answer_start": []}, []),
        ('{"text": [], "answer_start": []}', []),
        ([], []),
        (None, []),
        ("", []),
    ],
)
def test_answers_as_people_write_them(cell: Any, found: list[Answer]) -> None:
    assert parse_answers(cell) == found


def test_a_start_from_a_column_of_its_own() -> None:
    assert parse_answers("Ada", "3") == parse_answers("Ada", 3) == [Answer("Ada", 3)]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ({"start": [1]}, "answers need 'text', there is: start"),
        ({"text": ["a"], "answer_start": []}, "1 texts of answers and 0 of answer_start"),
        ({"text": ["a"], "answer_start": ["x"]}, "answer_start must be a number"),
        ([3], "an answer is a text, or an object"),
        (3, "expected answers, got int"),
        ("{'text': array(['Ada'])}", "neither JSON nor a Python dictionary"),
    ],
)
def test_other_cells_are_refused(cell: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_answers(cell)


@given(st.text(max_size=40))
def test_any_text_is_an_answer_or_a_value_error(cell: str) -> None:
    try:
        found = parse_answers(cell)
    except ValueError:
        return
    assert all(isinstance(one, Answer) for one in found)


CONTEXT = "Ada met Ada in Oslo"


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (Answer("Ada", 0), (0, 3)),
        (Answer("Ada", 8), (8, 11)),
        (Answer("Ada", 7), (8, 11)),  # one off: the nearest
        (Answer("Ada", 3), (0, 3)),
        (Answer("Ada", 99), (8, 11)),
        (Answer("Ada"), (0, 3)),
        (Answer(" met ", 3), (4, 7)),  # blanks are no part of it
        (Answer("Oslo", 0), (15, 19)),
        (Answer("oslo", 15), None),
        (Answer("  ", 3), None),
    ],
)
def test_where_an_answer_stands(answer: Answer, place: tuple[int, int] | None) -> None:
    assert locate(CONTEXT, answer) == place
