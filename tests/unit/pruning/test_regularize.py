from __future__ import annotations

import pytest
import torch

from sparsify.pruning.regularize import group_lasso


def test_is_the_proximal_step_of_each_block() -> None:
    weight = torch.tensor([[3.0, 0.1], [4.0, 0.1]])
    group_lasso(weight, "2x1", 0.5)
    assert weight[:, 0].tolist() == pytest.approx([2.7, 3.6])  # norm 5, shortened by a tenth
    assert weight[:, 1].tolist() == [0.0, 0.0]  # norm 0.14 is below the step: gone


def test_minimises_what_it_says() -> None:
    """argmin of |X - W|^2 / 2 + step * sum of block norms, found by gradient descent."""
    torch.manual_seed(0)
    start = torch.randn(4, 6)
    ours = start.clone()
    group_lasso(ours, "4x1", 0.7)
    found = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([found], lr=0.05)
    for _ in range(800):
        optimizer.zero_grad()
        ((found - start).square().sum() / 2 + 0.7 * found.square().sum(0).add(1e-12).sqrt().sum()).backward()
        optimizer.step()
    torch.testing.assert_close(ours, found.detach(), atol=1e-2, rtol=0)


def test_zero_blocks_stay_zero_and_finite() -> None:
    weight = torch.zeros(4, 4)
    group_lasso(weight, [4, 1], 0.1)
    assert torch.equal(weight, torch.zeros(4, 4))


def test_edges_may_be_shorter_with_padding() -> None:
    weight = torch.ones(5, 1)
    group_lasso(weight, "4x1", 1.0, pad=True)
    assert weight.flatten().tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.0])


def test_groups_that_cannot_vanish_are_refused() -> None:
    with pytest.raises(ValueError, match="whole blocks, not 2:4"):
        group_lasso(torch.ones(4, 4), "2:4", 0.1)
