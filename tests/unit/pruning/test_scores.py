from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparsify.pruning.scores import gradient, magnitude, movement, random, snip, taylor

W = torch.tensor([[-2.0, 0.5], [0.0, 1.0]])
G = torch.tensor([[1.0, -4.0], [3.0, 0.25]])


def test_magnitude_is_detached_float32_and_leaves_the_weight() -> None:
    weight = nn.Parameter(torch.tensor([[-2.0, 0.5], [-0.0, 1.0]], dtype=torch.bfloat16))
    score = magnitude(weight)
    assert score.dtype is torch.float32
    assert not score.requires_grad
    assert score.tolist() == [[2.0, 0.5], [0.0, 1.0]]
    score.zero_()
    assert weight[0, 0] == -2.0


def test_magnitude_of_float32_does_not_alias_the_weight() -> None:
    weight = nn.Parameter(torch.ones(3))
    magnitude(weight).zero_()
    assert weight.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (gradient, [[1.0, 4.0], [3.0, 0.25]]),
        (snip, [[2.0, 2.0], [0.0, 0.25]]),
        (taylor, [[4.0, 4.0], [0.0, 0.0625]]),
        (movement, [[2.0, 2.0], [0.0, -0.25]]),
    ],
)
def test_known_values(formula: object, expected: list[list[float]]) -> None:
    weight = nn.Parameter(W.clone())
    grad = G.clone()
    score: Tensor = formula(weight, grad)  # type: ignore[operator]
    assert score.tolist() == expected
    assert not score.requires_grad
    assert torch.equal(weight.detach(), W)
    assert torch.equal(grad, G)


@pytest.mark.parametrize("formula", [gradient, snip, taylor, movement])
def test_half_precision_gives_float32(formula: object) -> None:
    assert formula(W.bfloat16(), G.bfloat16()).dtype is torch.float32  # type: ignore[operator]


def test_movement_is_positive_where_a_step_takes_a_weight_away_from_zero() -> None:
    weight = nn.Parameter(W.clone())
    weight.grad = G.clone()
    moved = weight.detach() - 0.01 * G
    away = moved.abs() > W.abs()
    nonzero = W != 0
    assert torch.equal((movement(weight, G) > 0)[nonzero], away[nonzero])


def test_random_is_fixed_by_name_and_seed() -> None:
    weight = torch.zeros(50, 40)
    one = random(weight, "a")
    assert torch.equal(one, random(weight, "a"))
    assert not torch.equal(one, random(weight, "b"))
    assert not torch.equal(one, random(weight, "a", seed=1))
    assert 0.0 <= float(one.min()) < 0.01
    assert 0.99 < float(one.max()) < 1.0
