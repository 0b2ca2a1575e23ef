"""Tests of sparsify.export.graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsify.export.graph import Scopes, last_outputs, layer_tensors, operators, vocabulary, with_outputs

LAYERS = ("a", "a.b", "c")


def node(op: str, inputs: list[str], output: str, scopes: list[str] | None = None, **attributes: Any) -> Any:
    made = helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes)
    for key, value in (
        ("pkg.torch.onnx.name_scopes", repr(scopes or [])),
        ("pkg.torch.onnx.stack_trace", "File here.py"),
    ):
        entry = made.metadata_props.add()
        entry.key, entry.value = key, value
    return made


def graph(*nodes: Any, output: str = "y", **tensors: Any) -> Any:
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 4, None])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def two_layers() -> Any:
    weights = np.ones((8, 8), np.float32), np.full((8, 3), 2, np.float32)
    return graph(
        node("MatMul", ["x", "w"], "m", ["", "wrap", "wrap.a", "wrap.a.b", "linear"]),
        node("Add", ["m", "bias"], "s", ["", "wrap", "wrap.a", "wrap.a.b", "linear"]),
        node("Relu", ["s"], "r", ["", "wrap", "wrap.a", "relu"]),
        node("MatMul", ["r", "v"], "y", ["", "wrap", "wrap.c", "linear_1"]),
        w=weights[0],
        v=weights[1],
        bias=np.ones(8, np.float32),
    )


def test_scopes_are_found_under_the_wrapper(two_layers: Any) -> None:
    scopes = Scopes(two_layers, LAYERS)
    assert scopes.of("m") == ["a", "a.b"]
    assert scopes.of("r") == ["a"]
    assert scopes.of("y") == ["c"]
    assert scopes.of("nothing") == []


def test_a_module_named_like_the_wrapper_is_not_mistaken_for_it() -> None:
    made = graph(node("Relu", ["x"], "y", ["", "model", "model.model", "model.model.act", "relu"]))
    assert Scopes(made, ["model", "model.act"]).of("y") == ["model", "model.act"]


def test_a_graph_without_notes() -> None:
    made = graph(helper.make_node("Relu", ["x"], ["y"]))
    assert Scopes(made, LAYERS).of("y") == []
    assert layer_tensors(made, LAYERS) == {}
    assert last_outputs(made, LAYERS) == {}


def test_tensors_and_outputs_of_layers(two_layers: Any) -> None:
    tensors = layer_tensors(two_layers, LAYERS)
    assert {name: [t.shape for t in found] for name, found in tensors.items()} == {"a.b": [(8, 8)], "c": [(8, 3)]}
    assert list(last_outputs(two_layers, LAYERS).items()) == [("a.b", "s"), ("a", "r"), ("c", "y")]


def test_outputs_are_added_once(two_layers: Any) -> None:
    assert list(with_outputs(two_layers, ["s", "y", "unknown"])) == ["s"]
    assert [output.name for output in two_layers.graph.output] == ["y", "s"]


def test_float_products_with_constant_weights(two_layers: Any, tmp_path: Path) -> None:
    onnx.save(two_layers, tmp_path / "model.onnx")
    found = operators(tmp_path / "model.onnx", LAYERS)
    assert {(op.layer, op.shape) for op in found.float_ops} == {("a.b", (8, 8)), ("c", (8, 3))}
    assert found.int8_ops == 0


def test_weights_that_are_dequantized_before_a_float_product_are_seen(tmp_path: Path) -> None:
    made = graph(
        node("DequantizeLinear", ["q", "scale", "zero"], "w", ["", "wrap", "wrap.c", "dq"], axis=0),
        node("MatMul", ["x", "w"], "y", ["", "wrap", "wrap.c", "linear"]),
        q=np.arange(32, dtype=np.int8).reshape(8, 4),
        scale=np.full(8, 0.1, np.float32),
        zero=np.zeros(8, np.int8),
    )
    onnx.save(made, tmp_path / "model.onnx")
    found = operators(tmp_path / "model.onnx", ("c",))
    assert [(op.layer, op.shape) for op in found.float_ops] == [("c", (8, 4))]
    assert (found.int8_ops, found.weight_only_ops) == (0, 0)


def test_products_of_two_activations_are_not_listed(tmp_path: Path) -> None:
    made = graph(node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("MatMul", ["x", "t"], "y"))
    onnx.save(made, tmp_path / "model.onnx")
    assert operators(tmp_path / "model.onnx").float_ops == []


def test_the_vocabulary_is_the_table_that_ids_look_up(tmp_path: Path) -> None:
    made = helper.make_graph(
        [helper.make_node("Gather", ["other", "x"], ["z"]), helper.make_node("Gather", ["table", "input_ids"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 4]) for name in ("x", "input_ids")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 2])],
        [numpy_helper.from_array(np.ones((rows, 2), np.float32), n) for n, rows in (("other", 3), ("table", 7))],
    )
    onnx.save(helper.make_model(made), tmp_path / "model.onnx")
    assert vocabulary(tmp_path / "model.onnx") == 7


def test_a_graph_without_ids_has_no_vocabulary(two_layers: Any, tmp_path: Path) -> None:
    onnx.save(two_layers, tmp_path / "model.onnx")
    assert vocabulary(tmp_path / "model.onnx") is None
