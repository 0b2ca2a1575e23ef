"""From a range of values to scale and zero point, and from floats to integers: pure tensor functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-8  # scale of a tensor that is all zero: 0 would mean "never observed"


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """An integer format.

    Attributes:
        signed: int8, else uint8.
        symmetric: Zero point 0 and a range symmetric around it.
        axis: The axis that each scale belongs to, or None for one scale.
        narrow: Leave out the lowest integer, so that a signed range is symmetric.
        dynamic: Of activations: the range is that of each batch.
        bits: Width of the integers, 2 to 8; they are stored in 8.
        group: Of weights [out, in] with axis 0: so many neighbours along the last axis share a scale; None: a whole row.
    """

    signed: bool
    symmetric: bool
    axis: int | None = None
    narrow: bool = False
    dynamic: bool = False
    bits: int = 8
    group: int | None = None

    @property
    def qmin(self) -> int:
        """Lowest integer."""
        return int(self.narrow) - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Highest integer."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def dtype(self) -> torch.dtype:
        """Integer type that the values are stored in."""
        return torch.int8 if self.signed else torch.uint8


ACTIVATION = QuantSpec(signed=False, symmetric=False)
ACTIVATION_DYNAMIC = QuantSpec(signed=False, symmetric=False, dynamic=True)
ACTIVATION_SYMMETRIC = QuantSpec(signed=True, symmetric=True)
WEIGHT = QuantSpec(signed=True, symmetric=True, axis=0, narrow=True)
WEIGHT_PER_TENSOR = QuantSpec(signed=True, symmetric=True, narrow=True)
WEIGHT_AFFINE = QuantSpec(signed=True, symmetric=False)


def from_range(low: Tensor, high: Tensor, spec: QuantSpec) -> tuple[Tensor, Tensor]:
    """Scale and zero point (both float32, the zero point a whole number) that cover ``low`` to ``high`` and 0.

    Zero is always represented exactly: padding and masked weights stay zero.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    if spec.symmetric:
        scale = (torch.maximum(high, -low) / spec.qmax).clamp_(min=SMALLEST)
        return scale, torch.zeros_like(scale)
    scale = ((high - low) / (spec.qmax - spec.qmin)).clamp_(min=SMALLEST)
    return scale, (spec.qmin - torch.round(low / scale)).clamp_(spec.qmin, spec.qmax)


def scale_shape(spec: QuantSpec, shape: Sequence[int]) -> tuple[int, ...]:
    """How many scales a tensor of ``shape`` has: none of an axis, one per channel, or [channels, groups]."""
    if spec.axis is None:
        return ()
    return (shape[spec.axis],) if spec.group is None else (shape[0], shape[1] // spec.group)


def by_group(values: Tensor, spec: QuantSpec) -> Tensor:
    """Weights [out, in] as [out, groups, group], or any other tensor with the axis of its scales first, flattened after."""
    if spec.group is not None:
        return values.reshape(len(values), -1, spec.group)
    return values.movedim(spec.axis or 0, 0).flatten(1)


def per_axis(values: Tensor, spec: QuantSpec, ndim: int) -> Tensor:
    """``values`` (one per channel or group, or one) shaped to broadcast against a tensor of ``ndim`` dimensions."""
    if spec.axis is None:
        return values
    if spec.group is not None:
        return values.repeat_interleave(spec.group, dim=1)
    return values.view([-1 if i == spec.axis else 1 for i in range(ndim)])


def quantize(values: Tensor, scale: Tensor, zero_point: Tensor, spec: QuantSpec) -> Tensor:
    """Integers that stand for ``values``: the very ones that fake quantization computes with.

    Returns:
        Tensor of ``spec.dtype`` and the shape of ``values``.
    """
    scale, zero = (per_axis(t, spec, values.ndim) for t in (scale, zero_point))
    levels = (values.float() * scale.reciprocal()).round_() + zero
    return levels.clamp_(spec.qmin, spec.qmax).to(spec.dtype)


def dequantize(levels: Tensor, scale: Tensor, zero_point: Tensor, spec: QuantSpec) -> Tensor:
    """Floats that ``levels`` stand for."""
    scale, zero = (per_axis(t, spec, levels.ndim) for t in (scale, zero_point))
    return (levels.float() - zero) * scale


def pass_in_range(grad: Tensor, levels: Tensor, low: int, high: int) -> Tensor:
    """The gradient where a value was rounded to a level from ``low`` to ``high``, else zero (straight-through estimator).

    Args:
        grad: Float32.
        levels: What the values were rounded to, before clipping; of the same shape.
        low: Lowest level.
        high: Highest level.
    """
    passed = torch.ops.aten.hardtanh_backward(grad, levels, low - 0.5, high + 0.5)
    # the kernel's strides are not those that torch.compile expects of it, and code made for those would fail
    contiguous: Tensor = passed.contiguous()
    return contiguous
