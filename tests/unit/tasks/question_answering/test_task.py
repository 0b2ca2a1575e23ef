from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import BertConfig, EvalPrediction

from sparsify.errors import InputError
from sparsify.tasks.base import Reading
from sparsify.tasks.question_answering.arguments import QuestionArguments
from sparsify.tasks.question_answering.task import TASK
from tests.helpers import ner, qa


def reading(data: QuestionArguments, rows: list[dict[str, Any]], tmp_path: Path, length: int = 24) -> Any:
    path = ner.write_jsonl(tmp_path / "rows.jsonl", rows)
    split = TASK.examples(TASK.read_file(path, data), data, labelled=True)
    made = Reading(TASK, data, {"train": split, "validation": split}, [], ner.tokenizer(), BertConfig(), length)
    made.encode({"input_ids", "attention_mask"})
    return made


def perfect(made: Any, split: str = "validation") -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Logits that point at the labels, padded as the Trainer pads."""
    features = made.encoded[split].features
    longest = max(len(row["input_ids"]) for row in features)
    logits = np.full((2, len(features), longest), -100.0, dtype=np.float32)
    for index, row in enumerate(features):
        logits[:, index, : len(row["input_ids"])] = 0
        logits[0, index, row["labels"][0]] = logits[1, index, row["labels"][1]] = 5
    return logits[0], logits[1]


@pytest.mark.parametrize("length", [24, 12])
def test_a_perfect_model_has_perfect_metrics_in_any_windows(tmp_path: Path, length: int) -> None:
    data = QuestionArguments(version_2_with_negative=True)
    made = reading(data, qa.rows(24, negatives=True, filler=5), tmp_path, length)
    assert (len(made.encoded["validation"]) > 24) is (length == 12)
    assert set(made.encoded["validation"].features[0]) == {"input_ids", "attention_mask", "labels"}
    found = TASK.measure(made, "validation")(EvalPrediction(perfect(made), None))  # type: ignore[arg-type]
    assert (found["exact_match"], found["f1"], found["NoAns_f1"], found["best_f1"]) == (100.0, 100.0, 100.0, 100.0)
    assert found["NoAns_total"] == 8
    files = TASK.write_predictions(made, "validation", perfect(made), tmp_path)
    assert [path.name for path in files] == [
        "eval_predictions.json",
        "eval_nbest_predictions.json",
        "eval_null_odds.json",
    ]
    said = json.loads(files[0].read_text())
    golds = {row["id"]: (row["answers"]["text"] or [""])[0] for row in qa.rows(24, negatives=True, filler=5)}
    assert said == golds


def test_predictions_of_test_data_have_plain_names(tmp_path: Path) -> None:
    made = reading(QuestionArguments(), qa.rows(6), tmp_path)
    made.splits["test"], made.encoded["test"] = made.splits["validation"], made.encoded["validation"]
    files = TASK.write_predictions(made, "test", perfect(made), tmp_path)
    assert [path.name for path in files] == ["predictions.json", "nbest_predictions.json"]


def test_windows_whose_answer_is_lost_are_not_trained_on(tmp_path: Path) -> None:
    rows = qa.rows(4)
    rows[1]["answers"]["text"] = ["eve"]
    made = reading(QuestionArguments(), rows, tmp_path)
    assert len(made.encoded["train"]) == 4
    assert len(TASK.training_set(made, seed=0)) == 3
    for row in rows:
        row["answers"]["text"] = ["eve"]
    with pytest.raises(InputError, match="no answer stands in its context, so there is nothing to learn"):
        TASK.training_set(reading(QuestionArguments(), rows, tmp_path), seed=0)


def test_nested_files_are_read_as_flat_ones(tmp_path: Path) -> None:
    rows, data = qa.rows(6, negatives=True), QuestionArguments(version_2_with_negative=True)
    flat = ner.write_jsonl(tmp_path / "flat.jsonl", rows)
    nested = tmp_path / "nested.json"
    nested.write_text(json.dumps(qa.nested(rows)))
    one, other = (TASK.examples(TASK.read_file(path, data), data, labelled=True) for path in (flat, nested))
    assert (one.ids, one.pairs, one.answers) == (other.ids, other.pairs, other.answers)


def test_the_configuration_says_how_answers_are_read() -> None:
    config = BertConfig(id2label={0: "O", 1: "B-x", 2: "I-x"})  # of a model that did something else
    data = QuestionArguments(version_2_with_negative=True, null_score_diff_threshold=-1.5, max_answer_length=9)
    assert TASK.configure({}, data, config) == []
    assert config.num_labels == len(config.id2label) == 2
    assert TASK.known(config) == {
        "version_2_with_negative": True,
        "null_score_diff_threshold": -1.5,
        "max_answer_length": 9,
    }
    assert TASK.known(SimpleNamespace()) == {}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"doc_stride": 384}, "--doc_stride 384 must be below --max_seq_length 384"),
        ({"n_best_size": 0}, "--n_best_size must be at least 1"),
        ({"max_answer_length": 0}, "--max_answer_length must be at least 1"),
        ({"input_column_names": "question"}, "two columns, question and context"),
        ({"input_column_names": "a,b", "text_column_name": "a,b"}, "name the same thing"),
    ],
)
def test_flags_that_cannot_be(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        TASK.check(QuestionArguments(**flags))


def test_label_smoothing_has_no_meaning(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--label_smoothing_factor"):
        TASK.loss(reading(QuestionArguments(), qa.rows(2), tmp_path), 0.1)


@pytest.mark.parametrize(
    ("name", "file", "negatives"),
    [
        ("squad_mini", "train.jsonl.gz", False),
        ("squad_mini", "validation.jsonl", False),
        ("squad2_mini", "train.jsonl.gz", True),
    ],
)
def test_answers_of_real_data_are_found_again_through_their_labels(
    shared: Path, name: str, file: str, negatives: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data = QuestionArguments(version_2_with_negative=negatives, max_answer_length=200)
    split = TASK.examples(TASK.read_file(shared / "data" / name / file, data), data, labelled=True)
    assert not caplog.records  # every answer stands where it is said to
    made: Any = Reading(TASK, data, {"validation": split.first(60)}, [], ner.tokenizer(), BertConfig(), 400)
    made.encode({"input_ids", "attention_mask"})
    assert len(made.encoded["validation"]) > 60
    found = TASK.measure(made, "validation")(EvalPrediction(perfect(made), None))  # type: ignore[arg-type]
    assert found["f1"] > 99.5
    assert found["exact_match"] > 98
