"""Read an ONNX graph: which node belongs to which layer, the weights it holds, what ONNX Runtime left in float."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sparsify.export.session import open_session

_SCOPES = "pkg.torch.onnx.name_scopes"
_MATMULS = {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Conv", "FusedConv", "ConvTranspose"}
_INT8_MATMULS = {
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QLinearMatMul",
    "QGemm",
    "QLinearConv",
    "ConvInteger",
}
_QUANTIZERS = ("weight_fq", "input_fq")


@dataclass(frozen=True, slots=True)
class FloatOp:
    """A matrix product with constant weights that ONNX Runtime runs in float."""

    op: str
    node: str
    layer: str | None
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Operators:
    """What ONNX Runtime made of a graph's matrix products with constant weights."""

    float_ops: list[FloatOp]
    int8_ops: int


def load_graph(path: str | Path) -> Any:
    """Read an ONNX file with its external data."""
    import onnx

    return onnx.load(str(path))


def layer_scopes(node: Any, layers: Collection[str]) -> list[str]:
    """The modules, outermost first, in whose forward a node was traced, under the names that the model knows.

    The exporter may have wrapped the model, so leading parts of a scope that the model does not know are dropped.
    """
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    found = (_known(scope, layers) for scope in scopes)
    return [name for name in found if name is not None]


def _known(scope: str, layers: Collection[str]) -> str | None:
    for _ in range(3):
        if scope in layers:
            return scope
        _, dot, scope = scope.partition(".")
        if not dot:
            return None
    return None


def layer_tensors(graph: Any, layers: Collection[str]) -> dict[str, list[NDArray[Any]]]:
    """The constant tensors of two or more dimensions that each layer's nodes read, by layer.

    Args:
        graph: An ONNX model as :func:`load_graph` gives it.
        layers: Names of modules; a node belongs to the innermost of them that it was traced in.
    """
    from onnx import numpy_helper

    stored = {t.name: t for t in graph.graph.initializer if len(t.dims) >= 2}
    found: dict[str, list[NDArray[Any]]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for node in graph.graph.node:
        scopes = layer_scopes(node, layers)
        for name in node.input:
            if scopes and name in stored:
                array = arrays.setdefault(name, numpy_helper.to_array(stored[name]))
                if not any(array is other for other in found.setdefault(scopes[-1], [])):
                    found[scopes[-1]].append(array)
    return found


def last_outputs(graph: Any, layers: Collection[str]) -> dict[str, str]:
    """The tensor that leaves each layer: output of the last node traced in it, layers in the order they finish."""
    last: dict[str, str] = {}
    for node in graph.graph.node:
        for layer in layer_scopes(node, layers):
            last.pop(layer, None)
            last[layer] = node.output[0]
    return last


def operators(path: str | Path, layers: Collection[str] = ()) -> Operators:
    """Let ONNX Runtime optimize a graph as it would to run it, and look at its matrix products.

    Args:
        path: The ONNX file.
        layers: Names of the model's modules, to name those that stay in float.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="sparsify-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(path, optimized=optimized)
        graph = onnx.load(str(optimized), load_external_data=False)
    original = onnx.load(str(path), load_external_data=False)
    homes = {output: node for node in original.graph.node for output in (node.name, *node.output)}
    constants = _constants(graph)
    shapes = {t.name: tuple(t.dims) for t in graph.graph.initializer}
    left: list[FloatOp] = []
    for node in graph.graph.node:
        weight = next((name for name in node.input[:2] if name in constants), None)
        if node.op_type in _MATMULS and weight is not None:
            left.append(FloatOp(node.op_type, node.name, _home(node, homes, layers), shapes.get(constants[weight], ())))
    return Operators(left, sum(node.op_type in _INT8_MATMULS for node in graph.graph.node))


def _constants(graph: Any) -> dict[str, str]:
    """Tensors that no input reaches, and the initializer that each comes from (the first of several)."""
    known = {t.name: t.name for t in graph.graph.initializer}
    for node in graph.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant":
            known |= dict.fromkeys(node.output, node.output[0])
        elif inputs and all(name in known for name in inputs):
            known |= dict.fromkeys(node.output, known[inputs[0]])
    return known


def _home(node: Any, homes: dict[str, Any], layers: Collection[str]) -> str | None:
    """The layer of an optimized node: fusion keeps the name or an output of one of the nodes it replaced."""
    for key in (node.name, *node.output, *(part for part in node.name.split("/") if part)):
        scopes = layer_scopes(homes[key], layers) if key in homes else []
        if scopes:
            inner = scopes[-1]
            return inner.rpartition(".")[0] if inner.rpartition(".")[2] in _QUANTIZERS else inner
    return None


def with_outputs(graph: Any, names: Collection[str]) -> Iterator[str]:
    """Add tensors to a graph's outputs in place; yields those that were added."""
    import onnx

    present = {output.name for output in graph.graph.output}
    types = {v.name: v for v in onnx.shape_inference.infer_shapes(graph).graph.value_info}
    for name in names:
        if name in types and name not in present:
            graph.graph.output.append(types[name])
            yield name
