"""Files with ranges of each batch: what is in them, and that they compute what torch computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from sparsify.errors import ExportError
from sparsify.export.dynamic import quantize_dynamically
from sparsify.export.graph import load_graph
from sparsify.export.onnx import export_graph
from sparsify.export.weights import check_weights
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import QLinear, enable_calibrated, set_enabled
from sparsify.quantization.qparams import ACTIVATION_DYNAMIC
from sparsify.quantization.schemes import Scheme, Selection
from tests.helpers.models import tiny_classifier, token_batch

INPUTS = ("input_ids", "attention_mask")
SELECTION = Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC))


def inputs(seed: int, size: int = 4, length: int = 10) -> dict[str, torch.Tensor]:
    return {name: value for name, value in token_batch(seed, size, length).items() if name in INPUTS}


def dynamic(model: nn.Module, selection: Selection = SELECTION) -> nn.Module:
    insert_quantizers(model, selection)
    calibrate(model, None)
    return model.eval()


def write(model: nn.Module, path: Path, **options: Any) -> Path:
    export_graph(model, path, input_names=INPUTS, sample=inputs(0), output_names=["logits"], **options)
    return path


def run(path: Path, given: dict[str, torch.Tensor]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {k: v.numpy() for k, v in given.items()})[0]
    return found


def distance(found: np.ndarray[Any, Any], expected: torch.Tensor) -> float:
    """Of the outputs, relative: a value on a rounding border may become its neighbour, so never quite 0."""
    return float(np.linalg.norm(found - expected.numpy()) / np.linalg.norm(expected.numpy()))


@pytest.mark.parametrize("family", ["bert", "distilbert", "deberta-v2"])
def test_onnx_runtime_computes_what_torch_does(family: str, tmp_path: Path) -> None:
    model = dynamic(tiny_classifier(family, initializer_range=0.2))
    path = write(model, tmp_path / "m.onnx")
    for seed, size, length in ((0, 4, 10), (1, 1, 6), (2, 2, 17)):
        given = inputs(seed, size, length)
        with torch.no_grad():
            quantized = model(**given).logits
            set_enabled(model, False)
            plain = model(**given).logits
            enable_calibrated(model)
        assert distance(run(path, given), quantized) < 0.02
        if family != "deberta-v2":  # its table of positions is multiplied at export, in float
            assert distance(run(path, given), quantized) < distance(plain.numpy(), quantized) / 2


def test_every_linear_is_an_integer_product_and_attention_stays_float(tmp_path: Path) -> None:
    model = dynamic(tiny_classifier())
    kinds = Counter(node.op_type for node in load_graph(write(model, tmp_path / "m.onnx")).graph.node)
    linears = sum(isinstance(m, QLinear) for m in model.modules())
    assert kinds["MatMulInteger"] == linears
    assert kinds["MatMul"] == 4  # two layers, scores and values
    assert kinds["Gemm"] == 0
    assert kinds["DynamicQuantizeLinear"] < linears  # query, key and value share one


def test_the_integers_are_the_models(tmp_path: Path) -> None:
    model = tiny_classifier(initializer_range=0.2)
    dense = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    with torch.no_grad():
        dense.weight[:, ::2] = 0  # type: ignore[index, operator]
        dense.weight[3] = 0  # type: ignore[index, operator]
    checks = check_weights(dynamic(model), load_graph(write(model, tmp_path / "m.onnx")))
    assert [c.layer for c in checks if not (c.found and c.passed)] == []
    assert {c.dtype for c in checks} == {"int8"}
    masked = next(c for c in checks if c.layer.endswith("layer.0.intermediate.dense"))
    assert masked.zeros_file >= masked.zeros_model >= dense.weight.numel() // 2  # type: ignore[union-attr, operator]


def test_ignored_layers_stay_float(tmp_path: Path) -> None:
    selection = Selection(default=SELECTION.default, ignore=("classifier", "re:.*layer.0"), embeddings=False)
    model = dynamic(tiny_classifier(), selection)
    kinds = Counter(node.op_type for node in load_graph(write(model, tmp_path / "m.onnx")).graph.node)
    assert kinds["MatMulInteger"] == 6
    assert kinds["DequantizeLinear"] == 0


def test_a_head_on_one_vector_per_text(tmp_path: Path, make_tiny_bert: Callable[..., Any]) -> None:
    model = dynamic(make_tiny_bert("SequenceClassification"))
    sample = {"input_ids": torch.randint(5, 25, (3, 9)), "attention_mask": torch.ones(3, 9, dtype=torch.long)}
    path = tmp_path / "m.onnx"
    export_graph(model, path, input_names=INPUTS, sample=sample, output_names=["logits"])
    with torch.no_grad():
        assert distance(run(path, sample), model(**sample).logits) < 0.02
    kinds = Counter(node.op_type for node in load_graph(path).graph.node)
    assert kinds["Gemm"] == 0


def test_properties_of_the_file_and_external_data_are_kept(tmp_path: Path) -> None:
    model = dynamic(tiny_classifier())
    path = write(model, tmp_path / "m.onnx", metadata={"task": "x"}, external_data=True)
    assert {p.key: p.value for p in load_graph(path).metadata_props} == {"task": "x"}
    assert (tmp_path / "m.onnx.data").is_file()
    with torch.no_grad():
        assert distance(run(path, inputs(0)), model(**inputs(0)).logits) < 0.02
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = dynamic(tiny_classifier())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write(model, tmp_path / "m.onnx")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(isinstance(m, QLinear) for m in model.modules())


def test_a_file_without_the_layers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), str(path))
    with pytest.raises(ExportError, match="none of the 1 matrix products"):
        quantize_dynamically(path, ["fc"])
