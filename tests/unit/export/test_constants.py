"""Products of constants: computed once at export, and no larger than they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsify.errors import ExportError
from sparsify.export.constants import fold_constant_products

RANDOM = np.random.default_rng(0)
LEFT = RANDOM.standard_normal((4, 3)).astype(np.float32)
RIGHT = RANDOM.standard_normal((3, 5)).astype(np.float32)


def model(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> onnx.ModelProto:
    """``x`` to ``y``, of any shape."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    [x, y] = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def folded(before: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    read = onnx_ir.serde.deserialize_model(before)
    count = fold_constant_products(read)
    return count, onnx_ir.serde.serialize_model(read)


def run(which: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(which.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_a_product_and_what_follows_become_one_tensor() -> None:
    nodes = [
        helper.make_node("MatMul", ["left", "right"], ["product"]),
        helper.make_node("Transpose", ["product"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    before = model(nodes, {"left": LEFT, "right": RIGHT})
    count, after = folded(before)
    assert count == 1
    assert [node.op_type for node in after.graph.node] == ["MatMul"]
    x = RANDOM.standard_normal((2, 5)).astype(np.float32)
    assert np.allclose(run(after, x), run(before, x), atol=1e-6)


@pytest.mark.parametrize(("operator", "shape"), [("Tile", [16, 1, 1]), ("Expand", [16, 4, 5])])
def test_copies_are_made_when_the_model_runs(operator: str, shape: list[int]) -> None:
    """As DeBERTa's position tables for a batch of a fixed size: the file holds the table once."""
    nodes = [
        helper.make_node("MatMul", ["left", "right"], ["product"]),
        helper.make_node("Unsqueeze", ["product", "axes"], ["one"]),
        helper.make_node(operator, ["one", "shape"], ["many"]),
        helper.make_node("Add", ["x", "many"], ["y"]),
    ]
    before = model(nodes, {"left": LEFT, "right": RIGHT, "axes": np.array([0]), "shape": np.array(shape)})
    count, after = folded(before)
    assert count == 1
    assert [node.op_type for node in after.graph.node] == [operator, "Add"]
    assert max(np.prod(tensor.dims) for tensor in after.graph.initializer if tensor.name == "one_folded") == 20
    x = RANDOM.standard_normal((16, 4, 5)).astype(np.float32)
    assert np.allclose(run(after, x), run(before, x), atol=1e-6)


def test_products_with_an_input_stay() -> None:
    before = model([helper.make_node("MatMul", ["x", "right"], ["y"])], {"right": RIGHT})
    count, after = folded(before)
    assert count == 0
    assert after.graph.node[0].op_type == "MatMul"


def test_a_product_that_is_the_output_stays() -> None:
    nodes = [helper.make_node("MatMul", ["left", "right"], ["y"])]
    assert folded(model(nodes, {"left": LEFT, "right": RIGHT}))[0] == 0


def test_a_product_that_cannot_be_computed_is_told() -> None:
    nodes = [
        helper.make_node("MatMul", ["left", "left"], ["product"]),
        helper.make_node("Add", ["x", "product"], ["y"]),
    ]
    with pytest.raises(ExportError, match="the constant part of the graph cannot be computed"):
        folded(model(nodes, {"left": LEFT}))
