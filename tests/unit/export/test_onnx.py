"""export_graph: what is in the file, and that ONNX Runtime computes what torch computed."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from sparsify.errors import ExportError
from sparsify.export.onnx import DEFAULT_OPSET, export_graph
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import QLinear
from sparsify.quantization.schemes import Selection
from tests.helpers.models import FAMILIES, tiny_classifier, token_batch

INPUTS = ("input_ids", "attention_mask")
FLOAT_MATMULS = {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Conv", "FusedConv"}


def inputs(seed: int, size: int = 4, length: int = 10) -> dict[str, torch.Tensor]:
    return {name: value for name, value in token_batch(seed, size, length).items() if name in INPUTS}


def quantized(family: str = "bert", **extra: Any) -> nn.Module:
    model = tiny_classifier(family, initializer_range=0.2, **extra)
    insert_quantizers(model)
    calibrate(model, [inputs(seed) for seed in range(4)])
    return model.eval()


def write(model: nn.Module, path: Path, **options: Any) -> Path:
    sample = options.pop("sample", None) or inputs(0)
    export_graph(model, path, input_names=INPUTS, sample=sample, output_names=["logits"], **options)
    return path


def session(path: Path, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def constant_float_matmuls(path: Path) -> list[str]:
    """Operators of an optimized graph that multiply by a constant, or by a dequantized constant, in float."""
    graph = onnx.load(str(path)).graph
    known = {t.name for t in graph.initializer}
    for node in graph.node:
        if node.input and all(name in known or not name for name in node.input):
            known |= set(node.output)
    return [f"{n.op_type} {n.name}" for n in graph.node if n.op_type in FLOAT_MATMULS and set(n.input[:2]) & known]


def difference(path: Path, model: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Largest difference of logits between file and model, and how often both choose the same label."""
    with torch.no_grad():
        expected = model(**batch).logits.numpy()
    found = session(path).run(None, {k: v.numpy() for k, v in batch.items()})[0]
    return float(np.abs(found - expected).max()), float((found.argmax(-1) == expected.argmax(-1)).mean())


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    model = quantized(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return model, write(model, folder / "model.onnx")


def test_onnx_runtime_agrees_with_torch_in_every_shape(exported: tuple[nn.Module, Path]) -> None:
    model, path = exported
    for size, length in ((4, 10), (1, 7), (3, 40)):
        largest, agreement = difference(path, model, inputs(7, size, length))
        assert agreement >= 0.995
        assert largest < 0.02  # float sums in another order now and then round to the next integer


def test_every_linear_weight_is_an_int8_initializer_and_no_constant_matmul_stays_float(
    exported: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    model, path = exported
    stored = {tuple(t.dims): 0 for t in onnx.load(str(path)).graph.initializer if t.data_type == onnx.TensorProto.INT8}
    for layer in (m for m in model.modules() if isinstance(m, QLinear)):
        assert (layer.in_features, layer.out_features) in stored
    floats = [t for t in onnx.load(str(path)).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    allowed = {"rel_embeddings"}  # DeBERTa reads this table without calling it
    assert all(len(t.dims) < 2 or any(a in t.name for a in allowed) or t.dims[0] * t.dims[1] < 600 for t in floats)
    session(path, tmp_path / "optimized.onnx")
    assert constant_float_matmuls(tmp_path / "optimized.onnx") == []


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = quantized()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    write(model, tmp_path / "again.onnx")
    assert model.training
    assert all(m.training for m in model.modules())
    model.eval()
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_fixed_shapes_stay_integer_too(tmp_path: Path) -> None:
    model, batch = quantized(), inputs(3, 1, 12)
    path = write(model, tmp_path / "fixed.onnx", dynamic=False, sample=batch)
    shape = [d.dim_value for d in onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 12]
    assert difference(path, model, batch)[0] < 1e-4
    session(path, tmp_path / "optimized.onnx")
    assert constant_float_matmuls(tmp_path / "optimized.onnx") == []


def test_a_float_model_goes_the_same_way_and_is_over_three_times_larger(tmp_path: Path) -> None:
    wide = {"vocab_size": 30000}
    model = quantized(**wide)
    plain = tiny_classifier(initializer_range=0.2, **wide).eval()
    small, large = write(model, tmp_path / "int8.onnx"), write(plain, tmp_path / "fp32.onnx")
    assert difference(large, plain, inputs(5, 2, 9))[0] < 1e-4
    assert "QuantizeLinear" not in {n.op_type for n in onnx.load(str(large)).graph.node}
    assert small.stat().st_size / large.stat().st_size <= 0.30


def test_the_shared_input_of_query_key_and_value_is_quantized_once(tmp_path: Path) -> None:
    path = write(quantized(), tmp_path / "m.onnx")
    session(path, tmp_path / "optimized.onnx")
    graph = onnx.load(str(tmp_path / "optimized.onnx")).graph
    per_input = Counter(n.input[0] for n in graph.node if n.op_type == "QuantizeLinear")
    assert max(per_input.values()) == 1


def test_what_the_recipe_ignores_stays_float(tmp_path: Path) -> None:
    model = tiny_classifier()
    insert_quantizers(model, Selection(ignore=("classifier",)))
    calibrate(model, [inputs(0)])
    path = write(model.eval(), tmp_path / "m.onnx")
    session(path, tmp_path / "optimized.onnx")
    assert len(constant_float_matmuls(tmp_path / "optimized.onnx")) == 1


def test_metadata_opset_and_names(tmp_path: Path) -> None:
    path = write(tiny_classifier().eval(), tmp_path / "m.onnx", metadata={"task": "ner", "labels": '["O"]'})
    model = onnx.load(str(path))
    kept = {p.key: p.value for p in model.metadata_props}
    assert (kept["task"], kept["labels"]) == ("ner", '["O"]')
    assert session(path).get_modelmeta().custom_metadata_map["task"] == "ner"
    assert {o.domain: o.version for o in model.opset_import}[""] == DEFAULT_OPSET
    assert [i.name for i in model.graph.input] == list(INPUTS)
    assert [o.name for o in model.graph.output] == ["logits"]


def test_external_data(tmp_path: Path) -> None:
    model = tiny_classifier().eval()
    path = write(model, tmp_path / "m.onnx", external_data=True)
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data"}
    assert difference(path, model, inputs(1))[0] < 1e-4


def test_half_precision_weights_are_written_as_float32(tmp_path: Path) -> None:
    model = tiny_classifier().eval().to(torch.bfloat16)
    path = write(model, tmp_path / "m.onnx")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert difference(path, copy.deepcopy(model).float(), inputs(1))[0] < 1e-4


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(quantized(), tmp_path / "m.onnx")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


def test_convolutions_with_a_folded_norm_and_a_linear_of_rank_two(tmp_path: Path) -> None:
    model = Small()
    insert_quantizers(model)
    calibrate(model, [torch.randn(8, 3, 10, 10)])
    sample, path = torch.randn(2, 3, 10, 10), tmp_path / "c.onnx"
    export_graph(model.eval(), path, input_names=["x"], sample={"x": sample}, output_names=["y"])
    operators = {n.op_type for n in onnx.load(str(path)).graph.node}
    assert "BatchNormalization" not in operators
    with torch.no_grad():
        expected = model(sample).numpy()
    found = session(path, tmp_path / "o.onnx").run(None, {"x": sample.numpy()})[0]
    assert np.abs(found - expected).max() < 0.02  # an integer convolution rounds its bias and its output
    assert not [op for op in constant_float_matmuls(tmp_path / "o.onnx") if "Conv" not in op]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": 12}, "opset 12 is not supported: choose 18 to 23"),
        ({"input_names": ["input_ids", "pixels"]}, "no 'pixels'"),
        ({"output_names": ["spans"]}, "no output 'spans'; it gives logits"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    asked = {"input_names": INPUTS, "sample": inputs(0), "output_names": ["logits"]} | change
    with pytest.raises(ExportError, match=message):
        export_graph(tiny_classifier().eval(), tmp_path / "m.onnx", **asked)
    assert not list(tmp_path.iterdir())


def test_a_model_that_torch_cannot_export_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (2 if x.sum().item() > 0 else 3)

    with pytest.raises(ExportError, match="torch cannot export this Odd to ONNX") as caught:
        export_graph(
            Odd(),
            tmp_path / "m.onnx",
            input_names=["x"],
            sample={"x": torch.ones(2, 2)},
            output_names=["y"],
            dynamic=False,
        )
    assert "\n" not in str(caught.value)
    assert "a fixed length" not in str(caught.value)
    assert "def forward" not in capfd.readouterr().err


def test_a_model_of_one_length_is_told_to_give_one(tmp_path: Path) -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(x.shape[0], 2, 4)

    names = {"input_names": ["x"], "sample": {"x": torch.ones(2, 8)}, "output_names": ["y"]}
    with pytest.raises(ExportError, match=r"with a fixed length it may: --sequence_length N"):
        export_graph(Halves(), tmp_path / "m.onnx", **names)
    export_graph(Halves(), tmp_path / "m.onnx", **names, dynamic=False)
