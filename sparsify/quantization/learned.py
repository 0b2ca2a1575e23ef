"""Learned step sizes (Esser et al. 2020, Learned Step Size Quantization, https://arxiv.org/abs/1902.08153).

What is learned is the largest value that a grid of step ``s`` reaches, ``clip = s * Q`` with Q its highest level: a number
of the size of the values themselves. Its gradient is scaled so that a step of plain gradient descent moves ``s`` exactly
as the paper's does (``-rate * g * dL/ds`` with ``g = 1 / sqrt(N * Q)``); and optimizers such as Adam, whose steps have the
size of the learning rate whatever the gradient's, then move it as gently as they move the values. Moving ``s`` itself, they
would change an 8 bit step by several percent at once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sparsify.quantization.qparams import SMALLEST, QuantSpec, by_group, pass_in_range, per_axis


def levels_of(spec: QuantSpec) -> int:
    """Q: the number of steps that a clip value stands for; of a range with a zero point all of them."""
    return spec.qmax if spec.symmetric else spec.qmax - spec.qmin


def scale_of(clip: Tensor, spec: QuantSpec) -> Tensor:
    """The step sizes of clip values, in their shape."""
    return (clip / levels_of(spec)).clamp(min=SMALLEST)


class _Learned(torch.autograd.Function):
    """Quantize and dequantize; gradients for the values (straight through, in range) and for the clip values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, clip: Tensor, zero: Tensor | None, spec: QuantSpec, count: int) -> Tensor:
        scale = per_axis(scale_of(clip, spec), spec, values.ndim)
        scaled = values.float() * scale.reciprocal()
        ctx.save_for_backward(scaled, *(() if zero is None else (zero,)))
        ctx.spec, ctx.dtype, ctx.count, ctx.shape = spec, values.dtype, count, clip.shape
        return (_levels(scaled, zero, spec) * scale).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        scaled, *rest = ctx.saved_tensors
        zero, spec = rest[0] if rest else None, ctx.spec
        grad = grad.float()
        shifted = scaled.round() if zero is None else scaled.round() + zero
        passed = pass_in_range(grad, shifted, spec.qmin, spec.qmax)
        # d(round(v/s) * s)/ds is round(v/s) - v/s in range; beyond it the level that the value was clipped to.
        steps = grad * _levels(scaled, zero, spec) - passed * scaled
        summed = steps.sum() if spec.axis is None else by_group(steps, spec).sum(-1)
        factor = levels_of(spec) / math.sqrt(ctx.count * levels_of(spec))
        return passed.to(ctx.dtype), (summed * factor).reshape(ctx.shape), None, None, None


def _levels(scaled: Tensor, zero: Tensor | None, spec: QuantSpec) -> Tensor:
    """Whole numbers of steps, clipped to the format, without the zero point."""
    if zero is None:
        return scaled.round().clamp_(spec.qmin, spec.qmax)
    return scaled.round().add_(zero).clamp_(spec.qmin, spec.qmax).sub_(zero)


def round_learned(values: Tensor, clip: Tensor, zero: Tensor | None, spec: QuantSpec, count: int) -> Tensor:
    """``values`` rounded to the grid that ``clip`` spans, with gradients for both.

    Args:
        values: Any shape.
        clip: float32 [channels] or [channels, groups], or [1] for one grid.
        zero: The zero point, shaped to broadcast against ``values``; None for symmetric formats.
        spec: The integer format.
        count: N of the gradient's scale: weights that share a step, or features of one sample.
    """
    rounded: Tensor = _Learned.apply(values, clip, zero, spec, count)  # type: ignore[no-untyped-call]
    return rounded


class _Beside(torch.autograd.Function):
    """``values`` as they are; a zero gradient for a parameter that they do not depend on."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, parameter: Tensor) -> Tensor:
        ctx.save_for_backward(parameter)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (parameter,) = ctx.saved_tensors
        return grad, torch.zeros_like(parameter)


def beside(values: Tensor, parameter: Tensor) -> Tensor:
    """Take ``parameter`` into the graph without using it: DDP waits for a gradient of every parameter in each step."""
    same: Tensor = _Beside.apply(values, parameter)  # type: ignore[no-untyped-call]
    return same
