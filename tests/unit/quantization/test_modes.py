"""Forwards that are no training step of their own: evaluation, and what gradient checkpointing runs again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import quantizers, set_enabled, set_observing
from sparsify.quantization.modes import evaluating, recomputing
from tests.helpers.models import tiny_classifier, token_batch


def test_each_module_gets_its_own_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(2, 2))).train()
    model[1][0].eval()
    with pytest.raises(KeyError), evaluating(model):
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert [m.training for m in model.modules()] == [True, True, True, False, True]


def trained(use_reentrant: bool | None) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Quantizers' state and gradients after two steps; None: without checkpointing."""
    model: Any = tiny_classifier().train()
    insert_quantizers(model)
    set_enabled(model, True)
    set_observing(model, True)
    if use_reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    for seed in range(2):
        model.zero_grad()
        torch.manual_seed(seed)
        model(**token_batch()).loss.backward()
    state = {f"{n}.{key}": t.clone() for n, fq in quantizers(model).items() for key, t in fq.named_buffers()}
    return state, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_moves_no_range_twice(use_reentrant: bool) -> None:
    (plain, gradients), (again, others) = trained(None), trained(use_reentrant)
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(map(torch.equal, gradients, others))


def test_only_a_forward_inside_a_backward_is_a_repetition() -> None:
    seen = []

    class Ask(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            seen.append(recomputing())
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            seen.append(recomputing())
            return gradient

    Ask.apply(torch.ones(1, requires_grad=True)).backward()
    assert seen == [False, True]
    assert not recomputing()
