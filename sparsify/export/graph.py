"""Read an ONNX graph: which node belongs to which layer, the weights it holds, what ONNX Runtime left in float."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
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


_WEIGHT_ONLY = {"MatMulNBits", "MatMulBnb4"}


@dataclass(frozen=True, slots=True)
class FloatOp:
    """A matrix product with constant weights that ONNX Runtime runs in float."""

    op: str
    node: str
    layer: str | None
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Operators:
    """What ONNX Runtime made of a graph's matrix products.

    Attributes:
        float_ops: Those with constant weights that run in float.
        int8_ops: How many run in int8.
        weight_only_ops: How many have integer weights but float inputs.
    """

    float_ops: list[FloatOp]
    int8_ops: int
    weight_only_ops: int


def load_graph(path: str | Path) -> Any:
    """Read an ONNX file with its external data."""
    import onnx

    return onnx.load(str(path))


class Scopes:
    """Which modules each node of a graph was traced in, under the names that the model knows.

    Args:
        graph: An ONNX model as :func:`load_graph` gives it.
        layers: Names of the model's modules.
    """

    def __init__(self, graph: Any, layers: Collection[str]) -> None:
        self._layers = layers
        self._by_output = {node.output[0]: _scopes(node) for node in graph.graph.node}
        seen = {scope for scopes in self._by_output.values() for scope in scopes}
        seen |= {tensor.name.rpartition(".")[0] for tensor in graph.graph.initializer}
        # The exporter wraps the model, which puts parts of its own in front of every name.
        self._wrappers = max(range(3), key=lambda n: (sum(_without(s, n) in layers for s in seen), -n))

    def of(self, output: str) -> list[str]:
        """The modules, outermost first, in whose forward the node with this first output was traced."""
        names = (_without(scope, self._wrappers) for scope in self._by_output.get(output, ()))
        return [name for name in names if name in self._layers]

    def owner(self, tensor: str) -> str | None:
        """The module whose weight the exporter stored under this name."""
        module, _, attribute = tensor.rpartition(".")
        name = _without(module, self._wrappers)
        return name if attribute == "weight" and name in self._layers else None


def _scopes(node: Any) -> list[str]:
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(scope) for scope in scopes] if isinstance(scopes, list) else []


def _without(scope: str, parts: int) -> str:
    return ".".join(scope.split(".")[parts:])


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
    homes = Scopes(graph, layers)
    for node in graph.graph.node:
        scopes = homes.of(node.output[0])
        for name in node.input:
            if scopes and name in stored:
                array = arrays.setdefault(name, numpy_helper.to_array(stored[name]))
                if not any(array is other for other in found.setdefault(scopes[-1], [])):
                    found[scopes[-1]].append(array)
    return found


def folded_tensors(graph: Any, layers: Collection[str]) -> dict[str, NDArray[Any]]:
    """Weights that another layer's node reads: of layers that the exporter folded the next one, a batch norm, into.

    Args:
        graph: An ONNX model as :func:`load_graph` gives it.
        layers: Names of modules.
    """
    from onnx import numpy_helper

    stored = {t.name: t for t in graph.graph.initializer if len(t.dims) >= 2}
    homes = Scopes(graph, layers)
    found: dict[str, NDArray[Any]] = {}
    for node in graph.graph.node:
        for name in (name for name in node.input if name in stored):
            owner = homes.owner(name)
            if owner is not None and owner not in homes.of(node.output[0]):
                found[owner] = numpy_helper.to_array(stored[name])
    return found


def last_outputs(graph: Any, layers: Collection[str]) -> dict[str, str]:
    """The tensor that leaves each layer: output of the last node traced in it, layers in the order they finish."""
    last: dict[str, str] = {}
    homes = Scopes(graph, layers)
    for node in graph.graph.node:
        for layer in homes.of(node.output[0]):
            last.pop(layer, None)
            last[layer] = node.output[0]
    return last


def vocabulary(path: str | Path) -> int | None:
    """Rows of the table that ``input_ids`` looks up, None where the graph has no such table."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    rows = {tensor.name: int(tensor.dims[0]) for tensor in graph.initializer if len(tensor.dims) == 2}
    lookups = (node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[1] == "input_ids")
    return next((rows[name] for name in lookups if name in rows), None)


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
    homes, outputs = Scopes(original, layers), _first_outputs(original)
    constants = _constants(graph)
    shapes = {t.name: tuple(t.dims) for t in graph.graph.initializer}
    left: list[FloatOp] = []
    for node in graph.graph.node:
        weight = next((name for name in node.input[:2] if name in constants), None)
        if node.op_type in _MATMULS and weight is not None:
            left.append(
                FloatOp(node.op_type, node.name, _home(node, homes, outputs), shapes.get(constants[weight], ()))
            )
    kinds = Counter(node.op_type for node in graph.graph.node)
    return Operators(left, sum(kinds[kind] for kind in _INT8_MATMULS), sum(kinds[kind] for kind in _WEIGHT_ONLY))


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


def _first_outputs(graph: Any) -> dict[str, str]:
    """The first output of each node, by the node's name and by each of its outputs."""
    return {key: node.output[0] for node in graph.graph.node for key in (node.name, *node.output)}


def _home(node: Any, homes: Scopes, outputs: dict[str, str]) -> str | None:
    """The layer of an optimized node: fusion keeps the name or an output of one of the nodes it replaced."""
    for key in (node.name, *node.output, *node.name.split("/")):
        scopes = homes.of(outputs[key]) if key in outputs else []
        if scopes:
            return scopes[-1]
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
