"""Dynamic quantization of an ONNX file: ranges of activations from each batch, by ONNX Runtime's own tool."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparsify.errors import ExportError, first_line
from sparsify.export.graph import Scopes, load_graph


def quantize_dynamically(path: Path, layers: Collection[str]) -> None:
    """Rewrite the matrix products of ``layers``, in place, to integer ones with inputs quantized as they come.

    Weights become int8, symmetric, one scale per output channel. Those that lie on such a grid already (as
    ``RoundedLinear`` gives them) become the very integers of that grid.

    Args:
        path: An ONNX file in which each layer is a MatMul with a constant of [in, out].
        layers: Names of modules.

    Raises:
        ExportError: None of the products is in the file, or ONNX Runtime refused it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = load_graph(path)
    products = _products(graph, layers)
    properties = {p.key: p.value for p in graph.metadata_props}
    outside = path.with_name(f"{path.name}.data").is_file()
    options = {"op_types_to_quantize": ["MatMul"], "nodes_to_quantize": list(products)}
    try:
        with _quietly():
            quantize_dynamic(
                graph,
                path,
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=outside,
                **options,
            )
    except Exception as error:  # onnxruntime raises ValueError, RuntimeError and onnx's own classes
        raise ExportError(f"ONNX Runtime cannot quantize the file dynamically: {first_line(error)}") from error
    _restore(path, products, properties, outside)


def _products(graph: Any, layers: Collection[str]) -> dict[str, Any]:
    """The product with a constant of each layer: by name, what the exporter noted about the node.

    A layer may have none: what it gives was the same for every input, and was computed at export.
    """
    constants = {tensor.name for tensor in graph.graph.initializer}
    homes = Scopes(graph, layers)
    found: dict[str, Any] = {}
    for node in graph.graph.node:
        scopes = homes.of(node.output[0])
        if node.op_type == "MatMul" and scopes and node.input[1] in constants:
            found[node.name] = list(node.metadata_props)
    if not found:
        raise ExportError(
            f"the file has none of the {len(layers)} matrix products that are to be quantized dynamically"
        )
    return found


def _restore(path: Path, products: dict[str, Any], properties: dict[str, str], outside: bool) -> None:
    """Give back what the tool drops: of nodes the layers that they belong to, of the file its own properties."""
    import onnx

    graph = load_graph(path)
    for node in graph.graph.node:
        if node.name.endswith("_quant") and node.name.removesuffix("_quant") in products:
            node.metadata_props.extend(products[node.name.removesuffix("_quant")])
    onnx.helper.set_model_props(graph, properties)
    options: dict[str, Any] = {}
    if outside:
        options = {"save_as_external_data": True, "location": f"{path.name}.data"}
        path.with_name(f"{path.name}.data").unlink()
    onnx.save(graph, str(path), **options)


@contextmanager
def _quietly() -> Iterator[None]:
    """The tool advises, on the root logger, against quantizing a file that has any quantized part (embeddings)."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
