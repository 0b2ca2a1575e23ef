from __future__ import annotations

import torch
from torch import nn

from sparsify.pruning.scores import magnitude


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
