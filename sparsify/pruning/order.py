"""Order statistics over several tensors at once, on any devices, without joining or sorting them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_BINS = 1 << 16


def keep_highest(parts: Sequence[Tensor], count: int) -> list[Tensor]:
    """True for all but the ``count`` lowest values of all parts together; of equal ones the first go.

    Args:
        parts: Flat float32 tensors without NaN, in the order in which ties are broken.
        count: How many go; 0 or below: none, as many as there are or more: all.

    Returns:
        For each part a boolean tensor of its shape.
    """
    total = sum(len(part) for part in parts)
    if count <= 0 or count >= total:
        return [torch.full_like(part, count <= 0, dtype=torch.bool) for part in parts]
    threshold = kth_smallest(parts, count)
    kept = [part > threshold.to(part.device) for part in parts]
    staying = total - count - sum(int(torch.count_nonzero(keep)) for keep in kept)  # of those equal to the threshold
    for part, keep in zip(reversed(parts), reversed(kept), strict=True):
        if staying > 0:
            tied = (part == threshold.to(part.device)).nonzero().squeeze(1)[-staying:]
            keep[tied] = True
            staying -= len(tied)
    return kept


def kth_smallest(parts: Sequence[Tensor], k: int) -> Tensor:
    """The k-th smallest value (k from 1) of all parts together.

    Two histograms find it: of the upper halves of the values' bits, then of the lower halves of those in its bin.
    Float32 bits, read as integers, have the order of the numbers once those of negative ones are turned round.

    Args:
        parts: Flat float32 tensors without NaN.
        k: Between 1 and the number of values.

    Returns:
        A float32 scalar, on the device of the first part.
    """
    home = parts[0].device
    bin_, before = _find((_upper(part) for part in parts), k, home)
    near = torch.cat(on_one_device([part[_upper(part) == bin_] for part in parts]))
    lower = _lower(near)
    exact, _ = _find([lower], k - before, home)
    return near[(lower == exact).to(torch.uint8).argmax()]


def _find(codes: Iterable[Tensor], k: int, home: torch.device) -> tuple[int, int]:
    """The k-th smallest of integers below 65536, and how many are smaller."""
    counts = torch.zeros(_BINS, dtype=torch.int64, device=home)
    for code in codes:
        counts += torch.bincount(code, minlength=_BINS).to(home)
    below = counts.cumsum(0)
    found = int(torch.searchsorted(below, torch.tensor(k, device=home)))
    return found, int(below[found - 1]) if found else 0


def _upper(part: Tensor) -> Tensor:
    """Upper half of each value's bits, 0 to 65535, rising with the value."""
    bits = part.contiguous().view(torch.int32) >> 16
    return torch.where(bits < 0, bits ^ 0x7FFF, bits).add_(_BINS // 2)


def _lower(part: Tensor) -> Tensor:
    """Lower half of each value's bits, 0 to 65535, rising with the value among those of one upper half."""
    bits = part.contiguous().view(torch.int32)
    return torch.where(bits < 0, ~bits, bits) & 0xFFFF


def on_one_device(parts: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, all on the device of the first: a model's layers may lie on several."""
    return [part.to(parts[0].device) for part in parts]


def all_finite(tensor: Tensor) -> bool:
    """Whether there is no NaN and no infinity; ten times as fast as looking at ``torch.isfinite`` of each."""
    return tensor.numel() == 0 or all(math.isfinite(float(extreme)) for extreme in torch.aminmax(tensor.detach()))
