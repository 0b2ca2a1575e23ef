"""One torch model to one ONNX file, through torch.export; quantized models as QuantizeLinear / DequantizeLinear."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsify.errors import ExportError, first_line
from sparsify.export.constants import fold_constant_products
from sparsify.export.dynamic import quantize_dynamically
from sparsify.export.int4 import store_int4
from sparsify.quantization.export_form import (
    dynamic_layers,
    has_active_quantizers,
    needs_blocks_or_int4,
    to_export_form,
)

DEFAULT_OPSET = 20
_OPSETS = range(18, 24)
_BLOCK_OPSET = 21
_LARGEST_FILE = 2**31 - 2**20  # bytes that protobuf takes, with room for the graph
_SCOPES = "pkg.torch.onnx.name_scopes"  # which module a node was traced in: what a verification names layers by
_LOGGERS = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir", "transformers")


def export_graph(
    model: nn.Module,
    path: str | Path,
    *,
    input_names: Sequence[str],
    sample: Mapping[str, Tensor],
    output_names: Sequence[str],
    dynamic: bool | Literal["batch"] = True,
    opset: int | None = None,
    external_data: bool | Literal["auto"] = "auto",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``model`` as an ONNX file; the model is left as it was.

    Quantized layers get int8 initializers ([in, out] for Linears), one DequantizeLinear each, and QuantizeLinear and
    DequantizeLinear at their inputs; layers with ranges of each batch are rewritten by ONNX Runtime's ``quantize_dynamic``.
    Weights of another float type are written as float32.

    Args:
        model: Called with ``sample`` by keyword.
        path: The file to write; external data goes to ``<path>.data``.
        input_names: Inputs of the file, in order; each a keyword of the model's forward and a key of ``sample``.
        sample: One batch.
        output_names: Fields of the model's output to write, in order.
        dynamic: Leave batch (axis 0) and, of inputs of two or three dimensions, sequence (axis 1) open; ``"batch"``
            leaves the batch alone open; else the shapes of ``sample`` are fixed.
        opset: ONNX opset, 18 to 23; 20 by default, 21 where weights of 4 bits or in groups need it.
        external_data: Weights in a file of their own: ``auto`` above 2 GB.
        metadata: Text properties of the file.

    Raises:
        ExportError: The exporter refused the model, an output or input is missing, or the opset is not supported, in
            general or for this model's weights.
    """
    if opset is not None and opset not in _OPSETS:
        raise ExportError(f"opset {opset} is not supported: choose {_OPSETS[0]} to {_OPSETS[-1]}")
    inputs = _inputs(sample, input_names, dynamic)
    prepared = _prepared(model)
    wrapped = _Named(prepared, list(input_names), list(output_names)).eval()
    opset = _opset(prepared, opset)
    with _silence():
        program = _export(wrapped, inputs, list(output_names), dynamic, opset)
        fold_constant_products(program.model)
        store_int4(program.model)
        _strip(program.model)
        program.model.metadata_props.update({k: str(v) for k, v in (metadata or {}).items()})
        _save(program, Path(path), external_data)
        if layers := dynamic_layers(model):
            quantize_dynamically(Path(path), layers)


def _inputs(sample: Mapping[str, Tensor], names: Sequence[str], dynamic: bool | str) -> dict[str, Tensor]:
    """What the model is traced with."""
    missing = [name for name in names if name not in sample]
    if missing:
        raise ExportError(f"the sample has no {missing[0]!r}, which is to be an input; it has {', '.join(sample)}")
    return {name: _sized(sample[name], dynamic) for name in names}


def _opset(model: nn.Module, asked: int | None) -> int:
    needed = _BLOCK_OPSET if needs_blocks_or_int4(model) else DEFAULT_OPSET
    if asked is not None and needed == _BLOCK_OPSET and asked < needed:
        raise ExportError(f"weights of 4 bits or in groups need opset {needed}, got {asked}: leave the opset out")
    return needed if asked is None else asked


class _Named(nn.Module):
    """Calls a model by keyword and gives the chosen outputs as a tuple."""

    def __init__(self, model: nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self._inputs, self._outputs = inputs, outputs

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The outputs by name; where the model gives a bare tensor or tuple, in its order."""
        result = self.model(**dict(zip(self._inputs, values, strict=True)))
        if isinstance(result, Tensor):
            return (result,)
        if isinstance(result, Mapping):
            absent = [name for name in self._outputs if name not in result]
            if absent:
                raise ExportError(f"the model gives no output {absent[0]!r}; it gives {', '.join(map(str, result))}")
            return tuple(result[name] for name in self._outputs)
        return tuple(result[: len(self._outputs)])


def _prepared(model: nn.Module) -> nn.Module:
    """The model itself where it can be exported as it is, else a copy in float32 and export form."""
    floats = {p.dtype for p in model.parameters() if p.is_floating_point()}
    quantized = has_active_quantizers(model)
    # A shallow wrapper would switch the caller's model to eval mode; weights of a copy are shared where unchanged.
    memo: dict[int, Any] = {} if quantized or floats - {torch.float32} else {id(p): p for p in model.parameters()}
    copied = copy.deepcopy(model, memo).eval()
    copied = copied.float() if floats - {torch.float32} else copied
    return to_export_form(copied)


def _sized(value: Tensor, dynamic: bool | str) -> Tensor:
    """At least 2 along each open axis: torch.export takes 0 and 1 for constants."""
    for axis in _open_axes(value, dynamic) if dynamic else ():
        if value.shape[axis] < 2:
            value = torch.cat([value, value], dim=axis)
    return value


def _open_axes(value: Tensor, dynamic: bool | str) -> dict[int, str]:
    names = ("batch", "sequence") if value.ndim in (2, 3) and dynamic != "batch" else ("batch",)
    return dict(enumerate(names[: value.ndim]))


def _export(model: nn.Module, inputs: dict[str, Tensor], outputs: list[str], dynamic: bool | str, opset: int) -> Any:
    shapes = (tuple(_open_axes(v, dynamic) for v in inputs.values()),) if dynamic else None
    try:
        with torch.no_grad(), redirect_stderr(StringIO()):  # a failed trace prints its whole graph
            return torch.onnx.export(
                model,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=outputs,
                opset_version=opset,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except ExportError:
        raise
    except Exception as error:  # the exporter raises errors of many kinds, from several packages
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ExportError):
            raise cause from None
        name = type(model.model).__name__
        hint = "; with a fixed length it may: --sequence_length N, or shapes=(batch, N)" if dynamic is True else ""
        raise ExportError(f"torch cannot export this {name} to ONNX: {first_line(cause)}{hint}") from error


def _strip(model: Any) -> None:
    """Drop the stack traces that the exporter writes into every node: of a small model they are half the file."""
    for node in model.graph.all_nodes():
        for key in [key for key in node.metadata_props if key != _SCOPES]:
            del node.metadata_props[key]
    for value in model.graph.initializers.values():
        value.metadata_props.clear()


def _save(program: Any, path: Path, external_data: bool | Literal["auto"]) -> None:
    size = sum(v.const_value.nbytes for v in program.model.graph.initializers.values() if v.const_value is not None)
    outside = size > _LARGEST_FILE if external_data == "auto" else external_data
    if not outside and size > _LARGEST_FILE:
        raise ExportError(f"the weights take {size / 2**30:.1f} GB and one ONNX file holds 2: allow external data")
    program.save(str(path), external_data=outside)


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter warns of what a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
