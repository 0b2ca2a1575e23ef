"""What observers make of batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparsify.quantization.observers import average_range
from sparsify.quantization.qparams import ACTIVATION
from sparsify.quantization.range_observers import OBSERVERS, RangeObserver, make_observer


def batches(outlier: float = 50.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(64, 16, generator=generator) for _ in range(6)]
    made[3][0, 0] = outlier
    return made


def observed(name: str, values: list[Tensor], percentile: float = 99.9) -> tuple[float, float]:
    observer = make_observer(name, percentile)
    _show(observer, values)
    low, high = observer.range(ACTIVATION)
    return float(low), float(high)


def _show(observer: RangeObserver, values: list[Tensor]) -> None:
    for _ in range(observer.passes):
        for batch in values:
            observer.see(batch)
        observer.next_pass()


def test_min_max_is_the_widest_range() -> None:
    whole = torch.cat(batches())
    assert observed("min_max", batches()) == (float(whole.min()), 50.0)


def test_the_moving_average_is_that_of_training() -> None:
    bounds, count = torch.zeros(2), torch.zeros(())
    for batch in batches():
        average_range(bounds, count, batch, 0.05)
    assert observed("moving_average", batches()) == tuple(bounds.tolist())


@pytest.mark.parametrize("name", ["percentile", "entropy", "moving_average"])
def test_a_single_outlier_does_not_set_the_range(name: str) -> None:
    low, high = observed(name, batches())
    assert -6 < low < 0 < high < 25


def test_the_percentile_is_the_one_asked_for() -> None:
    wide, narrow = (observed("percentile", batches(), p)[1] for p in (99.99, 80.0))
    assert narrow == pytest.approx(1.28, abs=0.1)
    assert wide > 2.5 > narrow


@pytest.mark.parametrize("name", OBSERVERS)
def test_the_same_batches_give_the_same_range(name: str) -> None:
    assert observed(name, batches()) == observed(name, batches())


@pytest.mark.parametrize("name", ["min_max", "percentile", "mse", "entropy"])
def test_the_order_of_batches_does_not_matter(name: str) -> None:
    assert observed(name, batches()) == observed(name, batches()[::-1])


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_one_value_everywhere(name: str, value: float) -> None:
    low, high = observed(name, [torch.full((4, 4), value)] * 2)
    assert min(low, 0.0) == pytest.approx(min(value, 0.0))
    assert max(high, 0.0) == pytest.approx(max(value, 0.0))


@pytest.mark.parametrize("name", OBSERVERS)
def test_without_a_batch_nothing_was_seen(name: str) -> None:
    observer = make_observer(name)
    assert not observer.seen
    observer.see(torch.ones(2))
    assert observer.seen
