"""How sparsity grows between two epochs: pure functions of floats."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "cubic": lambda x: 1.0 - (1.0 - x) ** 3,
    "inverse_cubic": lambda x: 1.0 - math.cbrt(1.0 - x),
}
"""Shapes by name, each from [0, 1] onto [0, 1]. Cubic: Zhu and Gupta 2017, "To prune, or not to prune"."""


def interpolate(epoch: float, start: float, end: float, initial: float, final: float, shape: str = "cubic") -> float:
    """Value of a schedule at ``epoch``; held at ``initial`` before ``start`` and at ``final`` from ``end`` on.

    Args:
        epoch: Where to read it; may be infinite.
        start: Epoch at which it leaves ``initial``.
        end: Epoch at which it is ``final``, exactly; the same as ``start`` makes it a jump.
        initial: First value.
        final: Last value.
        shape: One of ``linear``, ``cubic``, ``inverse_cubic``.

    Raises:
        ValueError: ``end`` is before ``start``, an argument is NaN, or the shape is unknown.
    """
    if shape not in SCHEDULES:
        raise ValueError(f"unknown schedule {shape!r}: one of {', '.join(SCHEDULES)}")
    if math.isnan(epoch) or not start <= end:
        raise ValueError(f"a schedule needs start <= end and an epoch, got start {start}, end {end}, epoch {epoch}")
    if epoch >= end:
        return final
    if epoch <= start:
        return initial
    return initial + SCHEDULES[shape]((epoch - start) / (end - start)) * (final - initial)
