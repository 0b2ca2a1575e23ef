"""Matrix products of constants alone, computed once at export.

DeBERTa projects its table of relative positions in each layer, whatever the input: ONNX Runtime folds no quantized
constant, and multiplies such pairs with a lossy operator instead.
"""

from __future__ import annotations

from typing import Any

from sparsify.errors import ExportError

_REPEATS = ("Expand", "Tile")
"""Operators whose outputs are copies of their inputs: computed at export, a fixed batch would multiply the file."""


def fold_constant_products(model: Any) -> int:
    """Replace, in place, each value that a product of constants leads to and that the rest of the graph reads.

    Args:
        model: An ``onnx_ir.Model``.

    Returns:
        How many values became initializers.
    """
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    products = _constant_products(model.graph)
    frontier = [v for v in products if v.is_graph_output() or any(n.outputs[0] not in products for n, _ in v.uses())]
    frontier = [v for v in frontier if not v.is_graph_output()]
    if not frontier:
        return 0
    for value, array in zip(frontier, _evaluate(model, frontier), strict=True):
        name = f"{value.name}_folded"
        tensor = onnx_ir.tensor(array, name=name)
        folded = onnx_ir.Value(
            name=name,
            const_value=tensor,
            shape=onnx_ir.Shape(array.shape),
            type=onnx_ir.TensorType(tensor.dtype),
        )
        model.graph.initializers[name] = folded
        value.replace_all_uses_with(folded)
    RemoveUnusedNodesPass()(model)
    return len(frontier)


def _constant_products(graph: Any) -> dict[Any, None]:
    """Values that no input reaches and that a MatMul leads to, in order."""
    constant = set(graph.initializers.values())
    products: dict[Any, None] = {}
    for node in graph:
        inputs = [v for v in node.inputs if v is not None]
        nested = any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values())
        if nested or node.op_type in _REPEATS or not all(v in constant for v in inputs):
            continue
        constant.update(node.outputs)
        if node.op_type == "MatMul" or any(v in products for v in inputs):
            products.update(dict.fromkeys(node.outputs))
    return products


def _evaluate(model: Any, values: list[Any]) -> list[Any]:
    """The values as arrays: the nodes that lead to them, run by themselves without any optimization."""
    import onnx
    import onnxruntime
    from onnx_ir import serde

    nodes: set[Any] = set()
    tensors: dict[str, Any] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if node is None:
            tensors[value.name] = value
        elif node not in nodes:
            nodes.add(node)
            waiting += [v for v in node.inputs if v is not None]
    ordered = [serde.serialize_node(node) for node in model.graph if node in nodes]
    stored = []
    for name, value in tensors.items():
        stored.append(serde.serialize_tensor(value.const_value))
        stored[-1].name = name
    outputs = [onnx.ValueInfoProto(name=value.name) for value in values]
    graph = onnx.helper.make_graph(ordered, "constants", [], outputs, stored)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    text = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
        return list(session.run(None, {}))
    except Exception as error:  # ONNX Runtime's errors have no common public base
        raise ExportError(f"the constant part of the graph cannot be computed: {error}") from error
