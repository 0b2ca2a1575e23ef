"""Tests of sparsify.export.squad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.errors import InputError
from sparsify.export.samples import read_samples
from sparsify.export.squad import is_nested, questions_of

ARTICLE = {
    "title": "Oslo",
    "paragraphs": [
        {
            "context": "Ada met Bob in Oslo.",
            "qas": [
                {"id": "1", "question": "Who met Bob?", "answers": [{"text": "Ada", "answer_start": 0}]},
                {
                    "id": "2",
                    "question": "Who met Eve?",
                    "is_impossible": True,
                    "answers": [],
                    "plausible_answers": [{"text": "Ada", "answer_start": 0}],
                },
                {"id": "3", "question": "Where?"},
            ],
        },
        {"context": "Nothing is asked here."},
    ],
}


def test_each_question_becomes_a_row() -> None:
    assert is_nested([ARTICLE])
    rows = list(questions_of([ARTICLE]))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert {(row["title"], row["context"]) for row in rows} == {("Oslo", "Ada met Bob in Oslo.")}
    assert rows[0]["answers"] == [{"text": "Ada", "answer_start": 0}]
    assert rows[1]["answers"] == []  # not the plausible one
    assert "answers" not in rows[2]


@pytest.mark.parametrize("rows", [[], [{"paragraphs": "x"}], [{"question": "q"}], [ARTICLE, {"question": "q"}], ["x"]])
def test_other_rows_are_not_nested(rows: list[object]) -> None:
    assert not is_nested(rows)


@pytest.mark.parametrize("indent", [None, 2])
def test_samples_are_read_from_the_nested_file(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"version": "v2.0", "data": [ARTICLE]}, indent=indent))
    samples = read_samples(tmp_path / "dev.json", limit=2)
    assert samples == [("Who met Bob?", "Ada met Bob in Oslo."), ("Who met Eve?", "Ada met Bob in Oslo.")]


def test_a_json_file_that_holds_no_object_is_told(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text("3")
    with pytest.raises(InputError, match="each row must be an object"):
        read_samples(tmp_path / "dev.json")
