"""Tests of sparsify.export.verify, parity and weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from sparsify import verify
from sparsify.errors import CheckFailed, InputError
from sparsify.export import parity
from sparsify.export.graph import load_graph
from sparsify.export.parity import first_divergence, measure
from sparsify.export.samples import Batch, generate
from sparsify.export.weights import check_weights, expected_weight

LAYER = "bert.encoder.layer.1.intermediate.dense"
NAMES = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return generate(NAMES, 25, max_length=20, pad_id=0)


def perturbed(model: Any, amount: float = 0.5) -> Any:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_submodule(LAYER).weight.mul_(1 + amount)
    return other


def test_a_model_folder_against_its_deployment(ner_copy: Path) -> None:
    result = verify(ner_copy)
    assert result.passed
    assert result.problems == result.warnings == ()
    result.check()
    assert result.parity.max_difference <= 1e-4
    assert result.parity.counted > 100
    assert all(check.identical for check in result.weights)
    assert len(result.weights) == 16
    assert len(result.operators.float_ops) == 13
    assert {op.layer for op in result.operators.float_ops} >= {LAYER, "classifier"}


def test_masks_are_in_the_file(ner_copy: Path) -> None:
    masked = {check.layer: check for check in verify(ner_copy).weights}["bert.encoder.layer.0.intermediate.dense"]
    assert masked.zeros_model == masked.zeros_file == masked.size // 2


def test_another_model_fails_and_the_layer_is_named(make_tiny_bert, tiny_deployment: Path) -> None:
    result = verify(perturbed(make_tiny_bert()), tiny_deployment)
    assert not result.passed
    # the deployment's model has a pruned layer before it, which this one has not
    assert result.divergence is not None
    assert result.divergence.layer == "bert.encoder.layer.0.intermediate.dense"
    with pytest.raises(CheckFailed, match="parity: largest logit difference"):
        result.check()
    assert result.to_dict()["passed"] is False


def test_int8(tiny_int8_model, tiny_int8_deployment: Path, tiny_tokenizer) -> None:
    result = verify(tiny_int8_model, tiny_int8_deployment, tokenizer=tiny_tokenizer)
    assert result.passed
    assert result.parity.precision == "int8"
    assert result.operators.int8_ops >= 13
    assert result.expected_int8 == ()
    assert {check.dtype for check in result.weights} == {"int8"}


def test_a_file_as_near_to_the_exact_model_as_torch_is_passes_with_a_warning(
    tiny_int8_model, tiny_int8_deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "INT8_TOLERANCE", -1.0)  # agreement can never be enough
    right = verify(tiny_int8_model, tiny_int8_deployment)
    assert right.passed
    assert "small roundings move this model's predictions" in right.warnings[0]
    assert "from the model in double precision" in right.warnings[0]
    wrong = verify(perturbed(tiny_int8_model), tiny_int8_deployment)
    assert not wrong.parity.passed
    assert wrong.parity.file_error > 10 * wrong.parity.torch_error
    asked = verify(tiny_int8_model, tiny_int8_deployment, tolerance=-1.0)  # who names a tolerance is held to it
    assert not asked.passed
    assert asked.parity.torch_error is None


def test_int8_weights_that_differ_by_one_are_found(tiny_int8_model, tiny_int8_deployment: Path) -> None:
    graph = load_graph(tiny_int8_deployment / "model.onnx")
    tensor = next(
        t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.INT8 and tuple(t.dims) == (32, 5)
    )
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0] += 1 if values[0, 0] < 0 else -1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert [check.layer for check in check_weights(tiny_int8_model, graph) if not check.passed] == ["classifier"]


def test_a_float_weight_where_int8_was_asked_for_is_a_problem(tiny_int8_model, tiny_deployment: Path) -> None:
    checks = check_weights(tiny_int8_model, load_graph(tiny_deployment / "model.onnx"))
    assert not any(check.found for check in checks)
    assert {check.stored for check in checks} == {"float32"}
    result = verify(tiny_int8_model, tiny_deployment)
    assert any("16 of 16 layers are not int8" in problem for problem in result.problems)


def test_weights_that_were_computed_away_are_a_warning_unless_all_are(tiny_deployment: Path, ner_copy: Path) -> None:
    result = verify(ner_copy)
    first, *rest = result.weights
    gone = replace(result, weights=(replace(first, stored=None, identical=False, zeros_file=0), *rest))
    assert gone.passed
    assert gone.warnings == (f"1 weights are not in the graph and were not compared, {first.layer} first",)
    none = replace(result, weights=tuple(replace(check, stored=None, identical=False) for check in result.weights))
    assert "none was compared" in none.problems[0]


def test_layers_that_should_be_int8_but_run_in_float_are_named(tiny_int8_model, tiny_deployment: Path) -> None:
    result = verify(tiny_int8_model, tiny_deployment)
    assert {op.layer for op in result.expected_int8} >= {LAYER, "classifier"}
    assert "in float although the recipe quantizes them" in result.warnings[0]


def test_expected_integers_are_those_behind_the_fake_quantizer(tiny_int8_model) -> None:
    layer = tiny_int8_model.get_submodule(LAYER)
    integers, zero = expected_weight(layer)
    assert integers.dtype == np.int8
    assert not zero.any()
    assert np.abs(integers).max(axis=1).tolist() == [127] * len(integers)
    rebuilt = torch.from_numpy(integers.astype(np.float32)) * layer.weight_fq.scale.reshape(-1, 1)
    assert torch.equal(rebuilt, layer.weight_fq(layer.weight))


def test_parity_counts_only_what_counts(make_tiny_bert, tiny_deployment: Path, batches: list[Batch]) -> None:
    model = make_tiny_bert()
    path = tiny_deployment / "model.onnx"
    parity = measure(model, path, batches, ("logits",), precision="fp32")
    assert not parity.passed
    assert parity.counted == sum(int(batch.counted.sum()) for batch in batches)
    loose = measure(model, path, batches, ("logits",), precision="fp32", tolerance=1e3)
    assert loose.passed
    assert loose.loosened
    assert "loosened" in loose.summary()


def test_agreement_decides_for_int8(make_tiny_bert, tiny_deployment: Path, batches: list[Batch]) -> None:
    path = tiny_deployment / "model.onnx"
    parity = measure(make_tiny_bert(), path, batches, ("logits",), precision="int8")
    assert 0 < parity.agreement < 0.995
    assert not parity.passed
    assert measure(make_tiny_bert(), path, batches, ("logits",), precision="int8", tolerance=1.0).passed


def test_several_classes_agree_each_on_its_own(
    make_tiny_bert, tiny_text_deployment: Path, batches: list[Batch]
) -> None:
    labels = {"id2label": {0: "no", 1: "yes", 2: "maybe"}}
    model = make_tiny_bert("SequenceClassification", problem_type="multi_label_classification", **labels)
    found = measure(model, tiny_text_deployment / "model.onnx", batches, ["logits"], precision="int8")
    assert found.agreement == 1
    assert found.counted == 3 * found.samples
    with torch.no_grad():
        model.classifier.bias[1] += 100.0
    found = measure(model, tiny_text_deployment / "model.onnx", batches, ["logits"], precision="int8")
    assert found.agreement < 1
    assert not found.passed


def test_a_number_agrees_to_one_percent(make_tiny_bert, tiny_text_deployment: Path, batches: list[Batch]) -> None:
    labels = {"id2label": {0: "no", 1: "yes", 2: "maybe"}}
    model = make_tiny_bert("SequenceClassification", problem_type="regression", **labels)
    path = tiny_text_deployment / "model.onnx"
    assert measure(model, path, batches, ["logits"], precision="int8").agreement == 1
    with torch.no_grad():
        model.classifier.weight.mul_(1.5)  # the same argmax, other numbers
        model.classifier.bias.mul_(1.5)
    assert measure(model, path, batches, ["logits"], precision="int8").agreement < 0.5


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nan_never_passes(make_tiny_bert, tiny_deployment: Path, batches: list[Batch], precision: str) -> None:
    model = make_tiny_bert()
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    path = tiny_deployment / "model.onnx"
    assert not measure(model, path, batches, ("logits",), precision=precision, tolerance=1.0).passed


def test_first_divergence_is_the_first(tiny_ner_dir: Path, tiny_deployment: Path, batches: list[Batch]) -> None:
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(tiny_ner_dir).eval()
    found = first_divergence(perturbed(model), tiny_deployment / "model.onnx", batches[0], "fp32")
    assert found is not None
    assert found.layer == LAYER
    assert found.difference > 0
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.bias.add_(1)
    found = first_divergence(model, tiny_deployment / "model.onnx", batches[0], "fp32")
    assert found is not None
    assert found.layer in ("bert.embeddings", "bert.embeddings.LayerNorm")


def test_missing_things(ner_copy: Path, make_tiny_bert, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such ONNX file"):
        verify(ner_copy, tmp_path / "nothing.onnx")
    with pytest.raises(InputError, match="pass the deployment folder"):
        verify(make_tiny_bert())
    (tmp_path / "bad.onnx").write_text("not onnx")
    with pytest.raises(InputError, match="cannot load"):
        verify(ner_copy, tmp_path / "bad.onnx")
