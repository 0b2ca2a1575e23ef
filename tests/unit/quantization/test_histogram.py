"""Ranges from counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsify.quantization.histogram import (
    Histogram,
    best_range,
    count,
    divergence,
    percentile_range,
    squared_error,
)
from sparsify.quantization.qparams import ACTIVATION, ACTIVATION_SYMMETRIC, QuantSpec, dequantize, from_range, quantize


def histogram(values: Tensor, bins: int = 2048) -> Histogram:
    low, high = float(values.min()), float(values.max())
    return Histogram(count(values, low, high, bins), low, high)


def rounded_error(values: Tensor, low: float, high: float, spec: QuantSpec = ACTIVATION) -> float:
    """Mean squared error of really rounding the values."""
    scale, zero = from_range(torch.tensor(low), torch.tensor(high), spec)
    back = dequantize(quantize(values, scale, zero, spec), scale, zero, spec)
    return float((back - values).square().mean())


def normal(count: int = 20000, outlier: float = 0.0) -> Tensor:
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    return torch.cat([values, torch.tensor([outlier])])


def test_every_value_is_counted_once_and_those_outside_not_at_all() -> None:
    values = torch.tensor([-1.0, 0.0, 0.5, 0.99, 1.0, 7.0])
    assert count(values, -1.0, 1.0, 4).tolist() == [1, 0, 1, 3]


def test_more_values_in_a_bin_than_float32_can_count() -> None:
    values = torch.zeros(2**24 + 5, dtype=torch.bfloat16)
    values[:2] = 1.0
    assert count(values, 0.0, 1.0, 4).tolist() == [2**24 + 3, 0, 0, 2]


@settings(max_examples=40, deadline=None)
@given(st.floats(0.9, 1.0), st.integers(0, 1000))
def test_a_percentile_leaves_out_no_more_than_it_may(share: float, seed: int) -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(seed)).exp()
    found = histogram(values)
    low, high = percentile_range(found, share)
    width = (found.high - found.low) / len(found.counts)
    inside = ((values >= low - width) & (values <= high + width)).float().mean()
    assert inside >= share - 1e-6
    outside = max(float((values < low).float().mean()), float((values > high).float().mean()))
    assert outside <= (1 - share) / 2 + 1e-6


def test_all_of_the_values_are_the_whole_range() -> None:
    found = histogram(normal())
    assert percentile_range(found, 1.0) == pytest.approx((found.low, found.high))


def test_the_error_of_a_range_is_that_of_rounding_to_it() -> None:
    values = normal()
    ends = torch.tensor([[-4.0, 4.0], [-2.0, 3.0], [-0.5, 0.5]], dtype=torch.float64)
    found = squared_error(histogram(values, 1 << 16), ends[:, 0], ends[:, 1], ACTIVATION)
    real = [rounded_error(values, *e) for e in ends.tolist()]
    assert found.tolist() == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("spec", [ACTIVATION, ACTIVATION_SYMMETRIC])
def test_the_range_of_least_error_beats_the_whole_range_where_there_are_outliers(spec: QuantSpec) -> None:
    values = normal(outlier=60.0)
    found = histogram(values)
    low, high = best_range(found, spec, squared_error)
    assert high < 60.0
    assert rounded_error(values, low, high, spec) < rounded_error(values, found.low, found.high, spec)


def test_each_end_is_searched_by_itself() -> None:
    gelu = torch.nn.functional.gelu(normal(1 << 19))
    found = histogram(torch.cat([gelu, torch.tensor([30.0])]))
    low, high = best_range(found, ACTIVATION, squared_error)
    assert low / float(gelu.min()) > high / 30.0
    assert high < 0.7 * 30


def test_without_outliers_nothing_is_clipped() -> None:
    values = torch.linspace(-1.0, 3.0, 4001)
    for loss in (squared_error, divergence):
        low, high = best_range(histogram(values), ACTIVATION, loss)
        assert (low, high) == (pytest.approx(-1.0, abs=0.05), pytest.approx(3.0, abs=0.1))


def test_divergence_is_zero_where_levels_hold_one_bin_each_and_grows_when_mass_is_cut_off() -> None:
    found = Histogram(torch.rand(256, dtype=torch.float64) + 0.5, -0.5, 255.5)
    whole, half = divergence(found, torch.zeros(2), torch.tensor([255.0, 128.0]), ACTIVATION).tolist()
    assert whole == pytest.approx(0.0, abs=1e-9)
    assert half > 0.1


def test_divergence_of_a_range_by_hand() -> None:
    """Four bins in two levels of 1.01 each: what is left is flat within a level."""
    counts = torch.tensor([3.0, 1.0, 2.0, 2.0], dtype=torch.float64)
    found = Histogram(counts, 0.0, 4.0 / 3)
    assert torch.round(found.centers / 1.01).tolist() == [0, 0, 1, 1]
    true, left = counts / 8, torch.tensor([2.0, 2.0, 2.0, 2.0]) / 8
    by_hand = float((true * torch.log(true / left)).sum())
    assert float(divergence(found, torch.zeros(1), torch.tensor([255 * 1.01]), ACTIVATION)) == pytest.approx(by_hand)


def test_values_outside_count_at_the_ends_and_are_missing_from_what_is_left() -> None:
    counts = torch.tensor([4.0, 2.0, 1.0, 5.0], dtype=torch.float64)
    found = Histogram(counts, 0.0, 4.0)
    true, left = torch.tensor([4.0, 2.0, 6.0]) / 12, torch.tensor([4.0, 2.0, 1.0]) / 7
    by_hand = float((true * torch.log(true / left)).sum())
    assert float(divergence(found, torch.zeros(1), torch.tensor([3.0]), ACTIVATION)) == pytest.approx(by_hand)
