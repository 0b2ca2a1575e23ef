"""What looks at batches of activations during calibration and says which range to quantize."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from sparsify.quantization.histogram import Histogram, best_range, count, divergence, percentile_range, squared_error
from sparsify.quantization.observers import MOMENTUM, average_range, widen_range
from sparsify.quantization.qparams import QuantSpec

PERCENTILE = 99.999
"""Percent of the values that the range of the percentile observer holds, by default."""


class RangeObserver(Protocol):
    """Sees every batch once in each pass, then gives the range.

    Attributes:
        passes: How often it must see all batches.
    """

    passes: ClassVar[int]

    @property
    def seen(self) -> bool:
        """Whether there was a batch."""

    def see(self, values: Tensor) -> None:
        """Take note of one batch."""

    def next_pass(self) -> None:
        """All batches were seen once more."""

    def range(self, spec: QuantSpec) -> tuple[Tensor, Tensor]:
        """Low and high end, float32 scalars, for an integer format."""


class MinMax:
    """The widest range ever seen."""

    passes: ClassVar[int] = 1

    def __init__(self) -> None:
        self.bounds: Tensor | None = None

    @property
    def seen(self) -> bool:
        """Whether there was a batch."""
        return self.bounds is not None

    def see(self, values: Tensor) -> None:
        """Widen the range."""
        if self.bounds is None:
            self.bounds = torch.stack(torch.aminmax(values)).float()
        else:
            widen_range(self.bounds, torch.zeros((), device=values.device), values)

    def next_pass(self) -> None:
        """Nothing to do."""

    def range(self, spec: QuantSpec) -> tuple[Tensor, Tensor]:
        """What was seen."""
        bounds = torch.zeros(2) if self.bounds is None else self.bounds
        return bounds[0], bounds[1]


class MovingAverage(MinMax):
    """The mean of the batches' ranges, where late batches weigh more: what training observes by."""

    def __init__(self, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self.batches = torch.zeros(())

    def see(self, values: Tensor) -> None:
        """Move the range towards that of the batch."""
        if self.bounds is None:
            self.bounds = torch.zeros(2, device=values.device)
            self.batches = torch.zeros((), device=values.device)
        average_range(self.bounds, self.batches, values, self.momentum)


class Counting:
    """Finds the whole range in a first pass, counts values in bins of it in a second one.

    Args:
        choose: From the histogram and the format to the range.
    """

    passes: ClassVar[int] = 2

    def __init__(self, choose: Callable[[Histogram, QuantSpec], tuple[float, float]]) -> None:
        self.choose = choose
        self.whole = MinMax()
        self.counts: Tensor | None = None
        self.ends: tuple[float, float] | None = None

    @property
    def seen(self) -> bool:
        """Whether there was a batch."""
        return self.whole.seen

    def see(self, values: Tensor) -> None:
        """Widen the range, or count."""
        if self.ends is None:
            self.whole.see(values)
        elif self.ends[0] < self.ends[1]:
            found = count(values, *self.ends)
            self.counts = found if self.counts is None else self.counts + found

    def next_pass(self) -> None:
        """The range is known from here on."""
        bounds = self.whole.bounds
        if self.ends is None and bounds is not None:
            self.ends = (float(bounds[0]), float(bounds[1]))

    def range(self, spec: QuantSpec) -> tuple[Tensor, Tensor]:
        """What ``choose`` makes of the counts; the whole range where all values are one."""
        if self.ends is None or self.counts is None:
            return self.whole.range(spec)
        low, high = self.choose(Histogram(self.counts, *self.ends), spec)
        return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)


def _percentile(percent: float) -> RangeObserver:
    return Counting(lambda histogram, spec: percentile_range(histogram, percent / 100.0))


OBSERVERS: dict[str, Callable[[float], RangeObserver]] = {
    "min_max": lambda percent: MinMax(),
    "moving_average": lambda percent: MovingAverage(),
    "percentile": _percentile,
    "mse": lambda percent: Counting(lambda histogram, spec: best_range(histogram, spec, squared_error)),
    "entropy": lambda percent: Counting(lambda histogram, spec: best_range(histogram, spec, divergence)),
}
"""By name, from the percentile (which the others do not look at) to an observer."""


def make_observer(name: str, percentile: float = PERCENTILE) -> RangeObserver:
    """A fresh observer.

    Args:
        name: A key of ``OBSERVERS``.
        percentile: Percent of the values that the range of ``percentile`` holds.
    """
    return OBSERVERS[name](percentile)
