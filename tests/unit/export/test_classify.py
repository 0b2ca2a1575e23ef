"""Tests of sparsify.export.classify."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from sparsify.errors import InputError
from sparsify.export.classify import TextClassifier
from sparsify.export.deployed import Deployment
from sparsify.export.predict import TokenClassifier

TEXTS = ["ada lovelace met charles babbage in london", "paris", ("ada met", "london , paris .")]


def model_logits(folder: Path, tokenizer: Any, text: Any) -> torch.Tensor:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(*([text] if isinstance(text, str) else text), return_tensors="pt")).logits[0]


def with_problem(deployment: Path, folder: Path, problem: str) -> Path:
    """A copy that says it solves another problem."""
    shutil.copytree(deployment, folder)
    graph = onnx.load(folder / "model.onnx")
    facts = {entry.key: entry.value for entry in graph.metadata_props} | {"problem_type": problem}
    onnx.helper.set_model_props(graph, facts)
    onnx.save(graph, folder / "model.onnx")
    return folder


def test_classes_are_those_of_torch_in_the_order_of_the_texts(
    tiny_text_deployment: Path, tiny_text_dir: Path, tiny_tokenizer: Any
) -> None:
    found = TextClassifier(tiny_text_deployment)(TEXTS)
    for text, one in zip(TEXTS, found, strict=True):
        chances = model_logits(tiny_text_dir, tiny_tokenizer, text).softmax(-1)
        assert list(one.scores) == ["no", "yes", "maybe"]
        assert list(one.scores.values()) == pytest.approx(chances.tolist(), abs=1e-5)
        assert one.labels == [["no", "yes", "maybe"][int(chances.argmax())]]


def test_several_classes_are_those_above_one_half(
    tiny_text_deployment: Path, tiny_text_dir: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    folder = with_problem(tiny_text_deployment, tmp_path / "multi", "multi_label_classification")
    one = TextClassifier(folder)(TEXTS[:1])[0]
    chances = model_logits(tiny_text_dir, tiny_tokenizer, TEXTS[0]).sigmoid()
    assert list(one.scores.values()) == pytest.approx(chances.tolist(), abs=1e-5)
    assert set(one.labels) == {name for name, score in one.scores.items() if score > 0.5}


def test_a_number_is_the_output_itself(
    tiny_text_deployment: Path, tiny_text_dir: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    folder = with_problem(tiny_text_deployment, tmp_path / "number", "regression")
    one = TextClassifier(folder)(TEXTS[:1])[0]
    assert one.labels == []
    expected = model_logits(tiny_text_dir, tiny_tokenizer, TEXTS[0])
    assert list(one.scores.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_long_texts_are_cut_as_in_training(tiny_text_deployment: Path, tiny_tokenizer: Any) -> None:
    long = " ".join(["ada met"] * 40)
    classifier = TextClassifier(tiny_text_deployment, max_length=12)
    kept = tiny_tokenizer.decode(tiny_tokenizer(long, truncation=True, max_length=12)["input_ids"][1:-1])
    assert classifier([long])[0].scores == pytest.approx(classifier([kept])[0].scores)
    assert TextClassifier(tiny_text_deployment)([long])  # the model's own limit


def test_models_of_other_tasks_are_refused(tiny_deployment: Path, tiny_text_deployment: Path) -> None:
    with pytest.raises(InputError, match="classes of texts need a text classification model"):
        TextClassifier(tiny_deployment)
    with pytest.raises(InputError, match="entities need a token classification model"):
        TokenClassifier(Deployment(tiny_text_deployment))
