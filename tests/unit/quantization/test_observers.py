"""Ranges."""

from __future__ import annotations

import pytest
import torch

from sparsify.quantization.observers import average_range, weight_range, widen_range
from sparsify.quantization.qparams import WEIGHT, WEIGHT_PER_TENSOR


def fresh() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(2), torch.zeros(())


def test_the_first_batch_sets_the_range() -> None:
    bounds, count = fresh()
    average_range(bounds, count, torch.tensor([3.0, 7.0]), 0.05)
    assert bounds.tolist() == [3.0, 7.0]


def test_the_first_batches_weigh_alike_and_later_ones_by_momentum() -> None:
    bounds, count = fresh()
    for high in range(1, 21):
        average_range(bounds, count, torch.tensor([0.0, float(high)]), 0.05)
    assert bounds[1].item() == pytest.approx(10.5)
    average_range(bounds, count, torch.tensor([0.0, 110.5]), 0.05)
    assert bounds[1].item() == pytest.approx(10.5 + 0.05 * 100)


def test_widening_never_shrinks() -> None:
    bounds, count = fresh()
    for low, high in ((-1.0, 2.0), (-0.1, 0.1), (0.0, 5.0)):
        widen_range(bounds, count, torch.tensor([low, high]))
    assert (bounds.tolist(), count.item()) == ([-1.0, 5.0], 3.0)


def test_weight_range_per_channel_of_matrices_and_kernels() -> None:
    matrix = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    low, high = weight_range(matrix, WEIGHT)
    assert (low.tolist(), high.tolist()) == ([-2.0, 0.5], [1.0, 3.0])
    kernel = torch.arange(16.0).view(2, 2, 2, 2)
    assert weight_range(kernel, WEIGHT)[1].tolist() == [7.0, 15.0]
    assert weight_range(kernel, WEIGHT_PER_TENSOR)[1].item() == 15.0
