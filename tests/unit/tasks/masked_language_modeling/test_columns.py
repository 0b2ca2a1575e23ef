from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.masked_language_modeling.arguments import MaskedArguments
from sparsify.tasks.masked_language_modeling.columns import texts
from sparsify.tasks.masked_language_modeling.task import TASK
from sparsify.tasks.readers import Table


def table(*rows: dict[str, Any]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Table("a.jsonl", columns, list(rows), list(range(1, len(rows) + 1)), {})


def test_which_column_holds_the_texts() -> None:
    assert texts(table({"n": 1, "body": "b", "text": "t"}), None).texts == ["t"]
    assert texts(table({"n": 1, "body": "b", "title": "t"}), None).texts == ["b"]
    assert texts(table({"body": "b", "title": "t"}), "title").texts == ["t"]
    assert texts(table({"id": "1", "body": "b"}), None).texts == ["b"]
    assert texts(table({"n": "2.5", "body": ""}, {"n": "3", "body": "Ωμέγα"}), None).texts == ["Ωμέγα"]
    assert len(texts(table({"text": "a"}, {"text": " "}, {"text": None}, {"text": "b"}), None).first(1)) == 1


@pytest.mark.parametrize(
    ("rows", "column", "told"),
    [
        ([{"n": 1}], None, "no column 'text' .--text_column_name.; there are: n"),
        ([{"text": "a"}], "txt", "did you mean text"),
        ([{"text": "a"}, {"text": 3}], None, "a.jsonl:2: column text: expected text, got a int"),
        ([{"text": " "}], None, "the split is empty"),
        ([{"id": "1", "when": "2026-01-01"}], None, "no column 'text'"),
    ],
)
def test_mistakes_are_told_with_their_place(rows: list[dict[str, Any]], column: str | None, told: str) -> None:
    with pytest.raises(InputError, match=told):
        texts(table(*rows), column)


@pytest.mark.parametrize("name", ["wiki.txt", "wiki.train.raw", "wiki.txt.gz", "wiki.jsonl", "wiki.csv"])
def test_files_of_text(tmp_path: Path, name: str) -> None:
    content = {"jsonl": '{"text": "Ada met."}\n{"text": "Bob"}', "csv": "text\nAda met.\nBob\n"}.get(
        name.split(".")[-1], "Ada met.\n\nBob\n"
    )
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    read = TASK.read_file(tmp_path / name, MaskedArguments())
    assert TASK.examples(read, MaskedArguments(), labelled=True).texts == ["Ada met.", "Bob"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "wiki.txt").write_text("a")
    with pytest.raises(InputError, match=r"no file .*wiki2.txt; did you mean wiki.txt"):
        TASK.read_file(tmp_path / "wiki2.txt", MaskedArguments())


def test_validation_texts_are_the_last_of_the_training_texts() -> None:
    data = MaskedArguments(validation_split_percentage=20)
    made = TASK.arrange({"train": table(*({"text": str(i)} for i in range(10)))}, data)
    assert [row["text"] for row in made["validation"].rows] == ["8", "9"]
    assert len(made["train"].rows) == 8
    both = {"train": made["train"], "validation": made["validation"]}
    assert TASK.arrange(both, data) == both


def test_a_share_that_rounds_to_all_leaves_a_text_to_learn_from() -> None:
    data = MaskedArguments(validation_split_percentage=99)
    made = TASK.arrange({"train": table(*({"text": str(i)} for i in range(3)))}, data)
    assert [len(made[name].rows) for name in ("train", "validation")] == [1, 2]
