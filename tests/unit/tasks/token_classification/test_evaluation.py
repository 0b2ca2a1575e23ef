from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparsify.errors import InputError
from sparsify.export.checkpoint import load_model
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.token_classification.evaluation import evaluate_logits, evaluate_onnx
from sparsify.tasks.tokenizers import load_tokenizer
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
    model: Any = load_model(tiny_ner_dir)
    tokenizer = load_tokenizer(str(tiny_ner_dir), ModelArguments(), words=True)

    def predict(inputs: dict[str, Any]) -> Any:
        with torch.no_grad():
            return model(**{key: torch.from_numpy(value) for key, value in inputs.items()}).logits.numpy()

    options: dict[str, Any] = {"batch_size": 2, "per_entity": True}
    expected = evaluate_logits(predict, data, tokenizer, model.config.id2label, max_length=32, **options)
    found = evaluate_onnx(tiny_deployment, data, threads=1, **options)
    assert found == pytest.approx(expected)
    assert {"precision", "recall", "f1", "accuracy", "person_f1", "place_f1"} <= set(found)


def test_tags_that_the_model_does_not_know_are_told(tiny_deployment: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "data.jsonl", [{"tokens": ["ada"], "ner_tags": ["B-ship"]}])
    with pytest.raises(InputError, match="tags that the model does not know: B-ship"):
        evaluate_onnx(tiny_deployment, path, threads=1)


def test_a_folder_without_a_model_is_told(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="no such ONNX file"):
        evaluate_onnx(tmp_path, data)
