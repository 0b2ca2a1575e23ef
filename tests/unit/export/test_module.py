"""Any module to ONNX: inputs by name, in order or alone; outputs of every kind; what ONNX Runtime makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from sparsify import export_onnx, verify
from sparsify.errors import ExportError, InputError
from sparsify.export.graph import load_graph, operators
from sparsify.export.module import open_module
from sparsify.manager import load_recipe
from tests.helpers.convnets import Residual, images, normalized

QUANTIZE = "modifiers:\n  - !QuantizationModifier\n"


def calibrated(fields: str = "") -> nn.Module:
    """A residual network, quantized in one shot with ``fields``."""
    recipe = QUANTIZE + "".join(f"      {line}\n" for line in fields.splitlines())
    return load_recipe(recipe).apply(normalized(Residual()), [images(seed=5)])


def exported(model: nn.Module, folder: Path, **options: Any) -> tuple[Any, Any]:
    report = export_onnx(model, folder / "out", inputs=[images(4, seed) for seed in range(3)], **options)
    names = [name for name, _ in model.named_modules() if name]
    return report, operators(folder / "out" / "model.onnx", names)


def test_a_float_module(tmp_path: Path) -> None:
    report, _ = exported(normalized(Residual()), tmp_path)
    assert report.passed
    assert report.precision == "fp32"
    assert report.verification.parity.shapes == ((4,),)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "report.json", "report.md"}
    assert json.loads((tmp_path / "out" / "report.json").read_text())["task"] == "module"
    assert "dynamic batch |" in (tmp_path / "out" / "report.md").read_text()


FORMATS = {
    "default": "",
    "reduced range": "reduce_range: true",
    "6 bit weights": "weight_bits: 6",
    "a scale per tensor": "scheme: {weights: {strategy: tensor}}",
}


@pytest.mark.parametrize("fields", FORMATS.values(), ids=FORMATS)
def test_no_convolution_and_no_linear_runs_in_float(fields: str, tmp_path: Path) -> None:
    report, found = exported(calibrated(fields), tmp_path, strict=True)
    assert report.passed
    assert report.precision == "int8"
    assert found.float_ops == []
    assert found.int8_ops == 5


@pytest.mark.parametrize("fields", ["tensorrt: true", "scheme: tensorrt", "scheme: {target_hardware: tensorrt}"])
def test_all_zero_points_are_zero_for_tensorrt_and_biases_stay_float(fields: str, tmp_path: Path) -> None:
    report, _ = exported(calibrated(fields), tmp_path)
    assert report.passed
    graph = load_graph(tmp_path / "out" / "model.onnx").graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    assert all(not stored[node.input[2]].any() for node in pairs)
    assert {stored[node.input[2]].dtype for node in pairs} == {np.dtype("int8")}
    biases = [array for array in stored.values() if array.shape in ((8,), (5,)) and array.dtype == np.int32]
    assert not biases


def test_without_output_quantizers_two_convolutions_stay_float(tmp_path: Path) -> None:
    _, found = exported(calibrated("quantize_conv_activations: false"), tmp_path)
    assert {op.layer for op in found.float_ops} == {"block.conv2", "block.down.0"}


@pytest.mark.parametrize("bits", [2, 5])
def test_narrow_activations_are_clipped_as_in_training(bits: int, tmp_path: Path) -> None:
    model = calibrated(f"activation_bits: {bits}")
    with torch.no_grad():
        model.stem.input_fq.scale.mul_(0.3)  # so that inputs leave the range
    report, _ = exported(model, tmp_path)
    assert report.verification.parity.max_difference < 0.05


def test_verify_repeats_the_comparison_and_sees_another_model(tmp_path: Path) -> None:
    model = calibrated()
    exported(model, tmp_path)
    assert verify(model, tmp_path / "out", inputs=images(32, 9)).passed
    with torch.no_grad():
        model.head.weight.neg_()
    assert not verify(model, tmp_path / "out", inputs=images(32, 9)).passed


class Two(nn.Module):
    """Two inputs; gives what ``kind`` says."""

    def __init__(self, kind: str = "tuple") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.kind = nn.Linear(4, 3), kind

    def forward(self, left: Tensor, right: Tensor) -> Any:
        out = self.layer(left + right)
        results = {"tuple": (out, out.sum(-1)), "dict": {"a": out, "note": 1}, "text": "no"}
        return results[self.kind]


@pytest.mark.parametrize(("kind", "outputs"), [("tuple", ("output_0", "output_1")), ("dict", ("a",))])
def test_inputs_and_outputs_of_every_kind(kind: str, outputs: tuple[str, ...], tmp_path: Path) -> None:
    pair = (torch.randn(3, 4), torch.randn(3, 4))
    for inputs in ([pair], [{"right": pair[1], "left": pair[0]}], {"left": pair[0], "right": pair[1]}):
        assert open_module(Two(kind), inputs).task.outputs == outputs
    report = export_onnx(Two(kind), tmp_path / "out", inputs=[pair])
    assert report.passed
    graph = load_graph(tmp_path / "out" / "model.onnx").graph
    assert [value.name for value in graph.input] == ["left", "right"]
    assert tuple(value.name for value in graph.output) == outputs


def test_rows_are_limited_and_the_model_is_a_copy() -> None:
    model = Residual().train()
    source = open_module(model, (images(4, seed) for seed in range(100)), limit=10)
    assert len(source.given) == 3
    assert source.model is not model
    assert model.training


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "there is no batch"),
        ([(torch.zeros(2, 4),) * 3], "3 tensors in a batch"),
        ([{"left": 3}], "left must be a tensor"),
        ([{"left": torch.zeros(2, 4)}], "does not run on them"),
        ([(torch.zeros(2, 5), torch.zeros(2, 5))], "does not run on them"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_module(Two(), inputs)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    pair = (torch.randn(3, 4), torch.randn(3, 4))
    with pytest.raises(ExportError, match="returns str"):
        open_module(Two("text"), [pair])
    with pytest.raises(InputError, match="the batch stays open"):
        export_onnx(Two(), tmp_path / "out", inputs=[pair], shapes=(1, 4))
    with pytest.raises(InputError, match="alone"):
        export_onnx(Two(), tmp_path / "out", inputs=[pair], samples=["a text"])
    with pytest.raises(InputError, match="for a module in memory"):
        export_onnx("runs/x", tmp_path / "out", inputs=[pair])
    with pytest.raises(InputError, match="pass a transformers model, or batches"):
        export_onnx(Two(), tmp_path / "out")
