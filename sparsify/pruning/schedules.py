"""How sparsity grows between two epochs: pure functions of floats."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

_SLACK = 1e-9  # epochs

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "cubic": lambda x: 1.0 - (1.0 - x) ** 3,
    "inverse_cubic": lambda x: 1.0 - math.cbrt(1.0 - x),
    "cos": lambda x: 1.0 - math.cos(x * math.pi / 2.0),
    "cube": lambda x: x**3,
}
"""Shapes by name, each from [0, 1] onto [0, 1].

``cubic`` (Zhu and Gupta 2017, "To prune, or not to prune") is fast at first; ``cube``, ``cos`` and ``inverse_cubic`` are
Neural Compressor's and SparseML's that are fast at the end.
"""

SHAPES = (*SCHEDULES, "exp", "polynomial")
"""All names that ``interpolate`` knows; ``exp`` also depends on both ends, ``polynomial`` on a power."""


def interpolate(
    epoch: float,
    start: float,
    end: float,
    initial: float,
    final: float,
    shape: str = "cubic",
    power: float = 3.0,
) -> float:
    """Value of a schedule at ``epoch``; held at ``initial`` before ``start`` and at ``final`` from ``end`` on.

    Args:
        epoch: Where to read it; may be infinite.
        start: Epoch at which it leaves ``initial``.
        end: Epoch at which it is ``final``, exactly; the same as ``start`` makes it a jump.
        initial: First value.
        final: Last value.
        shape: One of ``SHAPES``. ``exp`` prunes the same fraction of what is left in equal times:
            ``1 - (1 - initial) * ((1 - final) / (1 - initial)) ** t``.
        power: Of ``polynomial``, ``1 - (1 - t) ** power``: 3 is ``cubic``, 1 is ``linear``.

    Raises:
        ValueError: ``end`` is before ``start``, an argument is NaN, or the shape is unknown.
    """
    if shape not in SHAPES:
        raise ValueError(f"unknown schedule {shape!r}: one of {', '.join(SHAPES)}")
    if math.isnan(epoch) or not start <= end:
        raise ValueError(f"a schedule needs start <= end and an epoch, got start {start}, end {end}, epoch {epoch}")
    if epoch >= end:
        return final
    if epoch <= start:
        return initial
    passed = (epoch - start) / (end - start)
    if shape == "exp":
        left = max(1.0 - initial, sys.float_info.min)
        return float(1.0 - left * ((1.0 - final) / left) ** passed)
    share = 1.0 - (1.0 - passed) ** power if shape == "polynomial" else SCHEDULES[shape](passed)
    return initial + share * (final - initial)


def multi_step(
    epoch: float, start: float, end: float, initial: float, final: float, milestones: Sequence[tuple[float, float]]
) -> float:
    """Value of a schedule of steps at ``epoch``: it jumps at each milestone, and to ``final`` at ``end``.

    Args:
        epoch: Where to read it; may be infinite.
        start: Epoch at which it begins; before it is ``initial``.
        end: Epoch at which it is ``final``.
        initial: First value.
        final: Last value.
        milestones: (share of the way from ``start`` to ``end``, value from there on), rising in the share.

    Raises:
        ValueError: ``end`` is before ``start``, or the epoch is NaN.
    """
    if math.isnan(epoch) or not start <= end:
        raise ValueError(f"a schedule needs start <= end and an epoch, got start {start}, end {end}, epoch {epoch}")
    if epoch >= end:
        return final
    passed = [value for share, value in milestones if epoch >= start + share * (end - start) - _SLACK]
    return passed[-1] if passed else initial
