from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsify.errors import InputError
from sparsify.export.parity import torch_outputs
from sparsify.export.source import open_source
from sparsify.tasks.evaluation import evaluate_onnx, evaluation
from tests.helpers.ner import write_jsonl

ROWS = [
    {"tokens": ["ada", "lovelace", "met", "babbage"], "ner_tags": ["B-person", "I-person", "O", "B-person"]},
    {"tokens": ["in", "london", "."], "ner_tags": ["O", "B-place", "O"]},
    {"tokens": ["paris"], "ner_tags": ["B-place"]},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "data.jsonl", ROWS)


def test_the_file_measures_as_the_model_does(tiny_ner_dir: Path, tiny_deployment: Path, data: Path) -> None:
    source = open_source(tiny_ner_dir)
    flags: dict[str, Any] = {"return_entity_level_metrics": True}
    expected = evaluation("token_classification", data, **flags)(
        source, lambda inputs: torch_outputs(source.model, inputs, ["logits"])
    )
    found = evaluate_onnx(tiny_deployment, data, batch_size=2, threads=1, **flags)
    assert found == pytest.approx(expected)
    assert {"precision", "recall", "f1", "accuracy", "person_f1", "place_f1"} <= set(found)


TAGS = {"ada": 1, "lovelace": 2, "babbage": 1, "london": 3, "paris": 3}


def test_the_metric_is_right(tiny_ner_dir: Path, data: Path) -> None:
    source = open_source(tiny_ner_dir)

    def perfect(inputs: dict[str, Any]) -> list[Any]:
        tags = {source.tokenizer.convert_tokens_to_ids(word): tag for word, tag in TAGS.items()}
        return [np.eye(5)[np.vectorize(lambda i: tags.get(i, 0))(inputs["input_ids"])]]

    measure = evaluation("token_classification", data)
    assert measure(source, perfect)["f1"] == 1.0
    assert measure(source, lambda inputs: [np.eye(5)[inputs["input_ids"] * 0]])["f1"] == 0.0


def test_tags_that_the_model_does_not_know_are_told(tiny_deployment: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "data.jsonl", [{"tokens": ["ada"], "ner_tags": ["B-ship"]}])
    with pytest.raises(InputError, match="classes that the model does not know: B-ship"):
        evaluate_onnx(tiny_deployment, path, threads=1)


@pytest.mark.parametrize("length", [0, 2, -1])
def test_a_length_that_holds_no_word(length: int, tiny_deployment: Path, data: Path) -> None:
    with pytest.raises(InputError, match=f"--max_seq_length {length} leaves no room for words"):
        evaluate_onnx(tiny_deployment, data, threads=1, max_seq_length=length)


def test_a_folder_without_a_model_is_told(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="no such ONNX file"):
        evaluate_onnx(tmp_path, data)


TEXTS = [{"text": f"{word} met", "label": label} for word, label in (("ada", "yes"), ("london", "no"), ("paris", "no"))]


def test_texts_are_measured_by_the_file_as_by_the_model(
    tiny_text_dir: Path, tiny_text_deployment: Path, tmp_path: Path
) -> None:
    source = open_source(tiny_text_dir)
    path = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    measure = evaluation("text_classification", path)
    expected = measure(source, lambda inputs: torch_outputs(source.model, inputs, ["logits"]))
    assert evaluate_onnx(tiny_text_deployment, path, batch_size=2, threads=1) == pytest.approx(expected)

    def perfect(inputs: dict[str, Any]) -> list[Any]:
        ada = source.tokenizer.convert_tokens_to_ids("ada")
        return [np.eye(3)[(inputs["input_ids"] == ada).any(1).astype(int)]]

    assert measure(source, perfect) == {"accuracy": 1.0, "matthews_correlation": 1.0, "f1_macro": 1.0}


def test_metrics_of_the_task_of_glue_that_the_model_was_trained_for(tiny_text_dir: Path, tmp_path: Path) -> None:
    source = open_source(tiny_text_dir)
    source.config.finetuning_task = "cola"
    path = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    measure = evaluation("text_classification", path)
    found = measure(source, lambda inputs: torch_outputs(source.model, inputs, ["logits"]))
    assert set(found) == {"matthews_correlation"}
