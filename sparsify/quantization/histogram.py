"""How often values occur, and the range to quantize that follows from it. Pure functions.

All ranges hold zero, as quantized ones do. Those that are searched for are searched one end at a time, since clipping
pays at one end only where values are skewed (GELU, softmax).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsify.quantization.qparams import QuantSpec, from_range

BINS = 2048
Loss = Callable[["Histogram", Tensor, Tensor, QuantSpec], Tensor]
"""From a histogram, low ends [n], high ends [n] and the format to how bad each of these ranges is, [n]."""
_CANDIDATES = 128
_EXACT = 2**24  # torch counts in float32, which has no odd numbers beyond
_ROUNDS = 3
_EPSILON = 1e-12


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bins of equal width.

    Attributes:
        counts: float64 [bins].
        low: Lower edge of the first bin.
        high: Upper edge of the last bin.
    """

    counts: Tensor
    low: float
    high: float

    @property
    def centers(self) -> Tensor:
        """Middle of each bin, float64 [bins]."""
        bins = len(self.counts)
        steps = torch.arange(bins, dtype=torch.float64, device=self.counts.device) + 0.5
        return self.low + steps * ((self.high - self.low) / bins)


def count(values: Tensor, low: float, high: float, bins: int = BINS) -> Tensor:
    """Counts of ``values`` in ``bins`` bins from ``low`` to ``high``, float64 [bins]; those outside are left out."""
    parts = torch.split(values.flatten(), _EXACT)
    return torch.stack([torch.histc(p.float(), bins=bins, min=low, max=high).double() for p in parts]).sum(0)


def percentile_range(histogram: Histogram, share: float) -> tuple[float, float]:
    """The range that holds ``share`` of the values, as many left out below as above, to within a bin.

    Args:
        histogram: Of the values.
        share: From above 0 to 1.
    """
    total = histogram.counts.sum()
    below = histogram.counts.cumsum(0)
    outside = total * (1.0 - share) / 2.0
    first = int(torch.searchsorted(below, outside, right=True))
    last = int(torch.searchsorted(below, total - outside))
    width = (histogram.high - histogram.low) / len(histogram.counts)
    bins = len(histogram.counts) - 1
    return histogram.low + width * min(first, bins), histogram.low + width * (min(last, bins) + 1)


def best_range(histogram: Histogram, spec: QuantSpec, loss: Loss) -> tuple[float, float]:
    """The range of least ``loss``: each end in turn, from the whole range inwards; of equals the widest."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    lows, highs = (_inwards(end, histogram.counts.device) for end in (low, high))
    if spec.symmetric:
        ends = _inwards(max(high, -low), histogram.counts.device)
        best = _best(ends, loss(histogram, -ends, ends, spec))
        return -best, best
    for _ in range(_ROUNDS):
        before = (low, high)
        high = _best(highs, loss(histogram, torch.full_like(highs, low), highs, spec))
        low = _best(lows, loss(histogram, lows, torch.full_like(lows, high), spec))
        if (low, high) == before:
            break
    return low, high


def squared_error(histogram: Histogram, low: Tensor, high: Tensor, spec: QuantSpec) -> Tensor:
    """Mean squared error of rounding to each range, for :func:`best_range`."""
    centers = histogram.centers
    levels, scale, zero = _levels(centers, low, high, spec)
    error = (levels - zero) * scale - centers
    return (error.square() * histogram.counts).sum(1) / histogram.counts.sum().clamp(min=1.0)


def divergence(histogram: Histogram, low: Tensor, high: Tensor, spec: QuantSpec) -> Tensor:
    """Kullback-Leibler divergence of the values from what each range leaves of them, for :func:`best_range`.

    The values outside a range count at its ends; what is left is a distribution that is flat within each level, and has
    nothing of the values outside. Migacz 2017, 8-bit Inference with TensorRT, here for ranges of two unlike ends.
    """
    counts, centers = histogram.counts, histogram.centers
    levels, _, _ = _levels(centers, low, high, spec)
    index = (levels - spec.qmin).long()
    inside = (centers >= low[:, None]) & (centers <= high[:, None])
    occupied = inside & (counts > 0)
    shape = (len(low), spec.qmax - spec.qmin + 1)
    mass = counts.new_zeros(shape).scatter_add_(1, index, counts * inside)
    width = counts.new_zeros(shape).scatter_add_(1, index, occupied.double())
    flat = (mass / width.clamp(min=1.0)).gather(1, index) * occupied
    true = _clipped(counts, inside)
    true, flat = (t / t.sum(1, keepdim=True).clamp(min=_EPSILON) for t in (true, flat))
    return (true * torch.log(true.clamp(min=_EPSILON) / flat.clamp(min=_EPSILON))).sum(1)


def _clipped(counts: Tensor, inside: Tensor) -> Tensor:
    """Counts within each range [n, bins]; those outside are added to its first and last bin."""
    kept = counts * inside
    bins = torch.arange(len(counts), device=counts.device)
    first = torch.where(inside, bins, len(counts) - 1).amin(1, keepdim=True)
    last = torch.where(inside, bins, 0).amax(1, keepdim=True)
    below, above = ((counts * outside).sum(1, keepdim=True) for outside in (bins < first, bins > last))
    return kept.scatter_add(1, first, below).scatter_add(1, last, above)


def _levels(values: Tensor, low: Tensor, high: Tensor, spec: QuantSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Integers [n, values] that stand for ``values`` in each of n ranges, and scale and zero point [n, 1] of each."""
    scale, zero = (t[:, None] for t in from_range(low, high, spec))
    return (torch.round(values / scale) + zero).clamp(spec.qmin, spec.qmax), scale, zero


def _inwards(end: float, device: torch.device) -> Tensor:
    """Candidates for an end of the range: from ``end`` towards zero, which itself is none unless ``end`` is."""
    if end == 0.0:
        return torch.zeros(1, dtype=torch.float64, device=device)
    return end * torch.arange(_CANDIDATES, 0, -1, dtype=torch.float64, device=device) / _CANDIDATES


def _best(ends: Tensor, losses: Tensor) -> float:
    return float(ends[int(losses.argmin())])
