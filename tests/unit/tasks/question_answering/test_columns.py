from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.question_answering.answers import Answer
from sparsify.tasks.question_answering.columns import Questions, questions
from sparsify.tasks.readers import Table

ROW = {
    "id": "a",
    "question": " Who met Bob? ",
    "context": "Ada met Bob.",
    "answers": {"text": ["Ada"], "answer_start": [0]},
}
NONE = ROW | {"id": "b", "answers": {"text": [], "answer_start": []}}


def table(*rows: dict[str, Any]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Table("dev.jsonl", columns, list(rows), list(range(1, len(rows) + 1)), {})


def read(*rows: dict[str, Any], **options: Any) -> Questions:
    usual = {"columns": None, "label": None, "labelled": True, "negatives": False}
    return questions(table(*rows), **usual | options)


def test_what_squad_calls_its_columns() -> None:
    found = read(ROW)
    assert (found.ids, found.questions, found.contexts) == (["a"], ["Who met Bob?"], ["Ada met Bob."])
    assert found.answers == [[Answer("Ada", 0)]]
    assert found.pairs == [("Who met Bob?", "Ada met Bob.")]
    assert len(found.first(None)) == len(found.first(3)) == 1
    assert found.first(0).answers == []


def test_other_columns() -> None:
    row = {"q": "Who?", "text": "Ada met Bob.", "answer": "Bob", "answer_start": "8"}
    found = read(row, columns=("q", "text"))
    assert (found.ids, found.answers) == (["0"], [[Answer("Bob", 8)]])
    assert read(row, columns=("q", "text"), label="text").answers == [[Answer("Ada met Bob.", 8)]]


def test_test_data_may_lack_answers() -> None:
    bare = {key: ROW[key] for key in ("id", "question", "context")}
    assert read(bare, labelled=False).answers is None
    assert read(bare, labelled=False, label="golds").answers is None
    assert read(NONE, labelled=False).answers is None  # kept back
    assert read(NONE, labelled=False, negatives=True).answers == [[]]


def test_what_cannot_be_answered() -> None:
    assert read(ROW, NONE, negatives=True).answers == [[Answer("Ada", 0)], []]
    assert read(ROW | {"is_impossible": True}, negatives=True).answers == [[]]
    with pytest.raises(InputError, match=r"dev.jsonl:2: 1 of 2 questions have no answer.*--version_2_with_negative"):
        read(ROW, NONE)


def test_ids_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(ROW, ROW, ROW).ids == ["a", "a#2", "a#3"]
    assert "2 ids stand more than once" in caplog.text


@given(st.lists(st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["a", "a#2", "a#2#2", "b", "0"])), max_size=9))
def test_no_two_questions_have_one_id(ids: list[Any]) -> None:
    found = read(*(ROW | {"id": one} for one in ids), ROW).ids
    assert len(set(found)) == len(found) == len(ids) + 1
    assert [name for name, one in zip(found, ids, strict=False) if ids.count(one) == 1 and one == "b"] == ["b"] * (
        ids.count("b") == 1
    )


def test_answers_that_are_not_where_they_should_be_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    moved = ROW | {"answers": {"text": ["Bob"], "answer_start": [0]}}
    lost = ROW | {"answers": {"text": ["Eve"], "answer_start": [0]}}
    with caplog.at_level(logging.WARNING):
        read(ROW, moved, lost, lost)
    assert "1 answers do not stand at their answer_start" in caplog.text
    assert "2 answers do not stand in their context at all (line 3 first)" in caplog.text
    caplog.clear()
    read(ROW)
    assert not caplog.records


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        ([], {}, "the split is empty"),
        ([{"question": "q", "text": "c"}], {}, "no column 'context' .--input_column_names.; there are: question, text"),
        ([ROW], {"columns": ("question", "contxt")}, "did you mean context"),
        ([{"question": "q", "context": "c"}], {}, "no column answers.*--label_column_name"),
        ([ROW], {"label": "answer"}, "no column 'answer'.*did you mean answers"),
        ([ROW, ROW | {"question": None}], {}, "dev.jsonl:2: column question: expected text, got nothing"),
        ([ROW | {"context": 3}], {}, "dev.jsonl:1: column context: expected text, got a int"),
        ([ROW | {"answers": {"text": ["Ada"], "answer_start": []}}], {}, "dev.jsonl:1: column answers: 1 texts"),
    ],
)
def test_mistakes_are_told_with_their_place(rows: list[dict[str, Any]], options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(*rows, **options)
