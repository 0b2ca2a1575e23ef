from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsify.errors import InputError
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.base import Reading
from sparsify.tasks.datasets import load_splits
from sparsify.tasks.parsing import parse
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION, SINGLE
from sparsify.tasks.text_classification.task import TASK
from tests.helpers import ner, texts


def arguments(tmp_path: Path, *flags: str) -> Arguments[Any]:
    return parse("text_classification", ["--output_dir", str(tmp_path), "--use_cpu", *flags], frozenset())


def reading(tmp_path: Path, files: dict[str, Path], *flags: str, labels: list[str] | None = None) -> Reading:
    named = [f for split, path in files.items() for f in (f"--{split}_file", str(path))]
    args = arguments(tmp_path, *named, *flags)
    splits = load_splits(TASK, args)
    config = ner.model(labels, head="SequenceClassification").config
    found = TASK.configure(splits, args.data, config)
    return Reading(TASK, args.data, splits, found, ner.tokenizer(), config, 24)


@pytest.mark.parametrize(
    ("kind", "problem", "labels"),
    [
        ("single", SINGLE, ["person", "place"]),
        ("ids", SINGLE, ["0", "1"]),
        ("multi", MULTI, ["person", "place"]),
        ("number", REGRESSION, ["score"]),
    ],
)
def test_data_says_problem_and_classes(tmp_path: Path, kind: str, problem: str, labels: list[str]) -> None:
    found = reading(tmp_path, texts.data_files(tmp_path, 8, 4, kind=kind))
    assert (found.config.problem_type, found.labels) == (problem, labels)


def test_ids_get_the_names_of_the_task_of_glue_unless_others_are_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = texts.data_files(tmp_path, 8, 4, kind="ids", pair=True)
    assert reading(tmp_path, files, "--task_name", "qnli", "--class_names", "no,yes").labels == ["no", "yes"]
    with caplog.at_level("INFO", "sparsify"):
        found = reading(tmp_path, files, "--task_name", "qnli")
    assert "0 is entailment, 1 is not_entailment; --class_names says otherwise" in caplog.text
    assert found.labels == ["entailment", "not_entailment"]
    assert found.config.finetuning_task == "qnli"
    assert found.splits["train"].tags[:2] == [["entailment"], ["not_entailment"]]


def test_a_model_with_named_classes_keeps_their_order(tmp_path: Path) -> None:
    files = texts.data_files(tmp_path, 8, 4)
    assert reading(tmp_path, files, labels=["place", "person"]).labels == ["place", "person"]


def test_whole_numbers_are_what_the_model_was_trained_for(tmp_path: Path) -> None:
    files = texts.data_files(tmp_path, 8, 4, kind="ids")
    assert reading(tmp_path, files, "--task_name", "stsb").config.problem_type == REGRESSION
    assert reading(tmp_path, files, "--problem_type", "regression").labels == ["score"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--input_column_names", "a", "--text_column_name", "b"), "name the same thing"),
        (("--input_column_names", "a,b,c"), "--input_column_names a,b,c: one column of text, or two"),
        (("--text_column_name", "a,b,c"), "--text_column_name a,b,c: one column of text, or two"),
        (("--validation_ratio", "1.5"), "above 0 and below 1, got 1.5"),
    ],
)
def test_flags_that_cannot_be(tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_splits(TASK, arguments(tmp_path, *flags))


def test_validation_data_out_of_training_or_test_data(tmp_path: Path) -> None:
    files = texts.data_files(tmp_path, 10, 4)
    train = ("--train_file", str(files["train"]))
    splits = load_splits(TASK, arguments(tmp_path, *train, "--validation_ratio", "0.3"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 7, "validation": 3}
    assert splits["validation"].lines == [8, 9, 10]
    for ratio, held in (("0.01", 1), ("0.99", 9)):
        splits = load_splits(TASK, arguments(tmp_path, *train, "--validation_ratio", ratio))
        assert {name: len(split) for name, split in splits.items()} == {"train": 10 - held, "validation": held}
    with pytest.raises(InputError, match="--eval_on_test evaluates on test data, and there is none"):
        load_splits(TASK, arguments(tmp_path, *train, "--validation_file", str(files["test"]), "--eval_on_test"))
    splits = load_splits(TASK, arguments(tmp_path, *train, "--test_file", str(files["test"]), "--eval_on_test"))
    assert splits["validation"].texts == splits["test"].texts


def test_smoothing_is_for_one_class(tmp_path: Path) -> None:
    found = reading(tmp_path, texts.data_files(tmp_path, 8, 4, kind="multi"))
    with pytest.raises(InputError, match="--label_smoothing_factor is for one class per text"):
        TASK.loss(found, 0.1)


def test_f1_is_about_the_task_of_glues_positive_class_whatever_its_place(tmp_path: Path) -> None:
    from transformers import EvalPrediction

    rows = [{"sentence1": "ada", "sentence2": "met", "label": label} for label in (1, 1, 0)]
    files = {"validation": ner.write_jsonl(tmp_path / "v.jsonl", rows)}
    found = reading(tmp_path, files, "--task_name", "mrpc", labels=["equivalent", "not_equivalent"])
    true = np.array([0, 0, 1])
    given = EvalPrediction(np.eye(2)[[0, 1, 1]], true)
    assert TASK.measure(found, "validation")(given)["f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("kind", "outputs", "said", "line"),
    [
        ("single", [[0, 1]], "place", "0\tplace"),
        ("multi", [[1, 1]], ["person", "place"], "0\tperson,place"),
        ("number", [[0.25]], 0.25, "0\t0.25"),
    ],
)
def test_predictions_say_what_was_found(tmp_path: Path, kind: str, outputs: Any, said: Any, line: str) -> None:
    files = texts.data_files(tmp_path, 4, 1, kind=kind)
    found = reading(tmp_path, files)
    paths = TASK.write_predictions(found, "test", np.array(outputs, dtype=float), tmp_path)
    assert paths[0].read_text().splitlines() == ["index\tprediction", line]
    row = json.loads(paths[1].read_text())
    assert row == {"texts": list(found.splits["test"].texts[0]), "predicted": said}
