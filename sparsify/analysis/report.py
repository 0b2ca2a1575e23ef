"""What a model holds, layer by layer: zeros, bits, bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sparsify.quantization.layers import stored_bits
from sparsify.select import clean_name, is_learned_range, prunable_parameters

if TYPE_CHECKING:
    from rich.table import Table

PRUNABLE = "sparsity of the prunable layers"
WHOLE = "sparsity of the whole model"
"""The two sparsities, under the only names by which tables and reports call them."""
_SCALE_BYTES = 5  # a float32 scale and an int8 zero point


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One weight of two or more dimensions (a tied one is listed once).

    Attributes:
        name: The weight's layer.
        type: Class of the layer, without the quantizing variants' own names.
        shape: Shape of the weight.
        zeros: Weights that are exactly zero.
        bits: Bits that a weight takes once exported: 8 (or 4) where its quantizer is active, else 32.
        size: Bytes of the weight at that many bits, scales included.
        prunable: Whether it counts in the sparsity of the prunable layers (Linear and convolution weights).
    """

    name: str
    type: str
    shape: tuple[int, ...]
    zeros: int
    bits: int
    size: int
    prunable: bool

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return torch.Size(self.shape).numel()

    @property
    def sparsity(self) -> float:
        """Share of zeros, from 0 to 1."""
        return self.zeros / max(1, self.parameters)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model's layers and totals.

    Attributes:
        layers: The layers with a weight of two or more dimensions.
        parameters: Number of parameters of the whole model, tied ones once.
        zeros: How many of them are zero.
        dense_bytes: Bytes of all parameters in fp32.
        bytes: Bytes of all parameters at the bits they take once exported.
    """

    layers: tuple[LayerReport, ...]
    parameters: int
    zeros: int
    dense_bytes: int
    bytes: int

    @property
    def sparsity_prunable(self) -> float:
        """Sparsity of the prunable layers: zeros among Linear and convolution weights, from 0 to 1."""
        layers = [layer for layer in self.layers if layer.prunable]
        return sum(layer.zeros for layer in layers) / max(1, sum(layer.parameters for layer in layers))

    @property
    def sparsity_model(self) -> float:
        """Sparsity of the whole model: zeros among all parameters, from 0 to 1."""
        return self.zeros / max(1, self.parameters)

    @property
    def quantized_layers(self) -> int:
        """How many layers take fewer than 32 bits."""
        return sum(layer.bits < 32 for layer in self.layers)

    @property
    def bits(self) -> str:
        """The bits of the model's weights, as people read them: ``32``, ``8`` or ``8/32``."""
        return "/".join(str(bits) for bits in sorted({layer.bits for layer in self.layers})) or "32"

    def totals(self) -> dict[str, str]:
        """The totals as rows of a table: name to value."""
        return {
            PRUNABLE: f"{self.sparsity_prunable:.2%}",
            WHOLE: f"{self.sparsity_model:.2%}",
            "parameters": f"{self.parameters:,}",
            "bits of the weights": self.bits,
            "weights in fp32": f"{self.dense_bytes / 1e6:,.2f} MB",
            "weights as exported": f"{self.bytes / 1e6:,.2f} MB",
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        layers = [{**asdict(layer), "sparsity": layer.sparsity} for layer in self.layers]
        return {
            "sparsity_prunable": self.sparsity_prunable,
            "sparsity_model": self.sparsity_model,
            "parameters": self.parameters,
            "zeros": self.zeros,
            "bits": self.bits,
            "dense_bytes": self.dense_bytes,
            "bytes": self.bytes,
            "layers": layers,
        }

    def to_table(self) -> Table:
        """The layers as a rich table, the totals as its caption."""
        from rich.table import Table

        table = Table(caption="  ·  ".join(f"{name} {value}" for name, value in self.totals().items()))
        for name in ("layer", "type", "shape", "zeros", "sparsity", "bits", "bytes"):
            table.add_column(name, justify="left" if name in ("layer", "type") else "right")
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            cells = (f"{layer.zeros:,}", f"{layer.sparsity:.2%}", str(layer.bits), f"{layer.size:,}")
            table.add_row(layer.name, layer.type, shape, *cells)
        return table


def model_report(model: nn.Module) -> ModelReport:
    """Count a model's zeros, bits and bytes.

    Args:
        model: Any module; quantizers count where they are calibrated and switched on.
    """
    prunable = {id(parameter) for parameter in prunable_parameters(model).values()}
    layers = tuple(_layers(model, prunable))
    parameters = [p for name, p in model.named_parameters() if not is_learned_range(name)]
    total = sum(p.numel() for p in parameters)
    saved = sum(layer.parameters * 4 - layer.size for layer in layers)
    zeros = sum(count_zeros(p) for p in parameters)
    return ModelReport(layers, total, zeros, total * 4, total * 4 - saved)


def weight_bits(module: nn.Module) -> int:
    """Bits that a layer's weight takes once exported."""
    return stored_bits(module) if quantized(module) else 32


def quantized(module: nn.Module, which: str = "weight_fq") -> bool:
    """Whether a layer's quantizer (``weight_fq`` or ``input_fq``) is calibrated and switched on."""
    return _bits(getattr(module, which, None)) < 32


def count_zeros(tensor: torch.Tensor) -> int:
    """Number of exact zeros."""
    return int(tensor.numel() - torch.count_nonzero(tensor.detach()))


def _bits(quantizer: Any) -> int:
    if quantizer is None or not quantizer.enabled or not bool((quantizer.scale > 0).all()):
        return 32
    return 8


def _layers(model: nn.Module, prunable: set[int]) -> Iterator[LayerReport]:
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim < 2 or id(weight) in seen:
            continue
        seen.add(id(weight))
        bits = weight_bits(module)
        size = (weight.numel() * bits + 7) // 8 + (_scale_bytes(module.weight_fq) if bits < 32 else 0)
        yield LayerReport(
            clean_name(name),
            _kind(module),
            tuple(weight.shape),
            count_zeros(weight),
            bits,
            size,
            id(weight) in prunable,
        )


def _scale_bytes(quantizer: Any) -> int:
    return int(quantizer.scale.numel()) * _SCALE_BYTES


def _kind(module: nn.Module) -> str:
    """The nearest torch class, so that a quantized Linear is called Linear."""
    home = next((cls for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn.")), type(module))
    return home.__name__ if home is not nn.Module else type(module).__name__
