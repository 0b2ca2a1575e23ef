"""Weights of 4 bits and weights in groups: what the file holds, what ONNX Runtime runs, that it is the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from sparsify import export_onnx
from sparsify.errors import ExportError, RecipeError
from sparsify.export.graph import load_graph, operators
from sparsify.manager import load_recipe

GROUPS = "scheme: {weights: {num_bits: 4, strategy: group, group_size: 32}, input_activations: null}"
CHANNELS = "scheme: {weights: {num_bits: 4}, input_activations: null}"
WIDE_GROUPS = "scheme: {weights: {num_bits: 8, strategy: group, group_size: 16}, input_activations: null}"
COMPRESSED_TENSORS = (
    "config_groups: {g: {targets: [Linear], weights: {num_bits: 4, type: int, symmetric: true, strategy: group,"
    " group_size: 64}, input_activations: null, output_activations: null}}"
)


def quantized(fields: str) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 8))
    with torch.no_grad():
        model[0].weight[:, ::3] = 0.0
    recipe = f"modifiers:\n  - !QuantizationModifier\n      {fields}\n"
    return load_recipe(recipe).apply(model, [torch.randn(64, 128)])


def exported(model: nn.Module, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    inputs = [torch.randn(64, 128, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    report = export_onnx(model, folder / "out", inputs=inputs, **options)
    graph = load_graph(folder / "out" / "model.onnx").graph
    return report, {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}


@pytest.mark.parametrize("fields", [GROUPS, CHANNELS, COMPRESSED_TENSORS], ids=["groups", "channels", "config_groups"])
def test_weights_alone_of_4_bits_are_packed_and_run_as_such(fields: str, tmp_path: Path) -> None:
    model = quantized(fields)
    report, tensors = exported(model, tmp_path, tolerance=0.02)
    assert report.passed
    assert (report.precision, report.opset) == ("int4", 21)
    packed = [t for t in tensors.values() if t.data_type == onnx.TensorProto.INT4]
    assert sorted(tuple(t.dims) for t in packed) == [(64, 8), (128, 64)]
    assert sum(len(t.raw_data) for t in packed) == (64 * 8 + 128 * 64) // 2
    found = operators(tmp_path / "out" / "model.onnx")
    assert (found.weight_only_ops, found.float_ops) == (2, [])
    assert [layer.bits for layer in report.model.layers] == [4, 4]
    assert [(check.dtype, check.identical) for check in report.verification.weights] == [("int4", True)] * 2


def test_the_file_holds_the_very_integers_and_every_zero(tmp_path: Path) -> None:
    model = quantized(GROUPS)
    report, tensors = exported(model, tmp_path, tolerance=0.02)
    (packed,) = [t for t in tensors.values() if tuple(t.dims) == (128, 64)]
    integers = onnx.numpy_helper.to_array(packed).astype(np.float32)
    scales = model[0].weight_fq.scale
    assert scales.shape == (64, 4)
    rounded = (torch.from_numpy(integers.T) * scales.repeat_interleave(32, dim=1)).numpy()
    np.testing.assert_allclose(rounded, model[0].weight_fq(model[0].weight).detach(), rtol=1e-6)
    assert not integers[::3].any()
    assert np.abs(integers).max() == 7
    assert report.verification.weights[0].zeros_model == 43 * 64


def test_groups_follow_weights_better_than_channels() -> None:
    errors = []
    for fields in (CHANNELS, GROUPS):
        layer = quantized(fields)[0]
        errors.append((layer.weight_fq(layer.weight) - layer.weight).square().mean().item())
    assert errors[1] < 0.9 * errors[0]


def test_groups_of_8_bits(tmp_path: Path) -> None:
    report, tensors = exported(quantized(WIDE_GROUPS), tmp_path)
    assert report.passed
    assert (report.precision, report.opset) == ("int8", 21)
    assert {t.data_type for t in tensors.values() if tuple(t.dims) == (128, 64)} == {onnx.TensorProto.INT8}


def test_with_integer_inputs_weights_of_4_bits_are_stored_in_8_and_run_in_integers(tmp_path: Path) -> None:
    report, tensors = exported(quantized("weight_bits: 4"), tmp_path, strict=True)
    assert (report.precision, report.opset) == ("int8", 20)
    assert {t.data_type for t in tensors.values()} == {onnx.TensorProto.INT8}
    assert [layer.bits for layer in report.model.layers] == [8, 8]
    assert operators(tmp_path / "out" / "model.onnx").int8_ops == 2


def test_an_opset_without_such_types_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="need opset 21, got 20"):
        exported(quantized(GROUPS), tmp_path, opset=20)


def test_groups_that_do_not_fit() -> None:
    def message(layer: nn.Module, size: int) -> str:
        fields = f"scheme: {{weights: {{strategy: group, group_size: {size}}}, input_activations: null}}"
        recipe = load_recipe(f"modifiers:\n  - !QuantizationModifier\n      {fields}\n")
        with pytest.raises(RecipeError) as caught:
            recipe.apply_structure(nn.Sequential(layer))
        return str(caught.value)

    assert "48 inputs are no multiple of group_size 32: group_size 16 would fit" in message(nn.Linear(48, 4), 32)
    assert "strategy channel fits" in message(nn.Linear(10, 4), 32)
    assert "in Linear layers only" in message(nn.Conv2d(4, 4, 3), 4)
