"""Compare the weights that an ONNX file holds with those of the model it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparsify.analysis.report import count_zeros, quantized, weight_bits
from sparsify.export.graph import folded_tensors, layer_tensors
from sparsify.quantization.qparams import per_axis

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """One layer's weight in the model and in the file.

    Attributes:
        layer: Name of the layer.
        dtype: What the file should hold: ``int8``, ``int4`` or ``float32``.
        size: Number of weights.
        stored: Type of the layer's weight in the file; None where the file has no tensor of its shape, because what the
            layer gives does not depend on the input and was computed at export.
        identical: Whether every value is the same (for int8: the same integer), up to a factor per output channel where
            the exporter folded a batch norm into the layer.
        zeros_model: Zeros of the model's float weight: the mask.
        zeros_file: Zeros of the file's weight; at least the mask's, more where small weights round to 0.
    """

    layer: str
    dtype: str
    size: int
    stored: str | None
    identical: bool
    zeros_model: int
    zeros_file: int

    @property
    def found(self) -> bool:
        """Whether the file has the weight, in the type that it should have."""
        return self.stored == self.dtype

    @property
    def passed(self) -> bool:
        """Whether values are identical and no masked weight came back."""
        return self.identical and self.zeros_file >= self.zeros_model


def check_weights(model: nn.Module, graph: Any) -> list[WeightCheck]:
    """Compare every Linear, convolution and Embedding weight with the file.

    Args:
        model: The model that was exported, quantizers frozen.
        graph: The ONNX model, with its external data.
    """
    layers = {name: m for name, m in model.named_modules() if _has_weight(m)}
    tensors, folded = layer_tensors(graph, layers), folded_tensors(graph, layers)
    return [_check(name, module, tensors.get(name, []), folded.get(name)) for name, module in layers.items()]


def _has_weight(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.ndim >= 2


def _check(
    name: str, module: nn.Module, tensors: list[NDArray[Any]], folded: NDArray[Any] | None = None
) -> WeightCheck:
    expected, zero = expected_weight(module)
    dtype = "int4" if weight_bits(module) == 4 else str(expected.dtype)
    # A weight that its own layer reads is held to that, whoever else reads it.
    given = tensors or ([] if folded is None else [folded])
    scaled = str(expected.dtype) == "float32" and (not tensors or isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d))
    groups = module.groups if isinstance(module, _TRANSPOSED) else None
    shaped = [way for t in given for way in (t, t.T) if way.shape == expected.shape]
    found = [t.astype(expected.dtype) for t in shaped if str(t.dtype) == dtype]
    same = [np.array_equal(t, expected) or (scaled and _proportional(t, expected, groups)) for t in found]
    best = found[same.index(True) if True in same else 0] if found else None
    stored = dtype if best is not None else next((str(t.dtype) for t in shaped), None)
    return WeightCheck(
        layer=name,
        dtype=dtype,
        size=expected.size,
        stored=stored,
        identical=any(same),
        zeros_model=count_zeros(module.weight),  # type: ignore[arg-type]
        zeros_file=0 if best is None else int((best == zero).sum()),
    )


def _proportional(found: NDArray[Any], expected: NDArray[Any], groups: int | None) -> bool:
    """Equal up to a factor per output channel, which a batch norm that was folded in leaves."""
    ours, own = _by_channel(found, groups), _by_channel(expected, groups)
    factor = (ours * own).sum(1) / np.maximum((own * own).sum(1), np.finfo(np.float64).tiny)
    far = np.abs(ours - factor[:, None] * own)
    return bool((far <= 1e-5 * np.abs(ours) + 1e-7 * np.abs(ours).max(1, keepdims=True)).all())


def _by_channel(weight: NDArray[Any], groups: int | None) -> NDArray[np.float64]:
    """[outputs, all else]; ``groups`` of a transposed convolution, which has its outputs second and by group."""
    if groups is not None:
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        weight = split.swapaxes(1, 2).reshape(groups * weight.shape[1], -1)
    return weight.reshape(len(weight), -1).astype(np.float64)


@torch.no_grad()
def expected_weight(module: nn.Module) -> tuple[NDArray[Any], NDArray[Any]]:
    """The weight as the file must hold it, in the model's layout, and the value that stands for zero.

    For a quantized layer these are the integers behind what its quantizer gives the forward pass.
    """
    weight: torch.Tensor = module.weight.detach().float()  # type: ignore[operator]
    if not quantized(module):
        return weight.numpy(), np.zeros((), np.float32)
    quantizer: Any = module.weight_fq
    scale, zero = (per_axis(t, quantizer.spec, weight.ndim) for t in (quantizer.scale, quantizer.zero_point))
    integers = torch.round(quantizer(weight) / scale) + zero
    return integers.to(quantizer.spec.dtype).numpy(), zero.to(quantizer.spec.dtype).numpy()
