"""Learned step sizes: gradients by the paper's formulas, the pace of a step, what the optimizer may do to them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsify.quantization.fake_quant import ActivationQuant, WeightQuant
from sparsify.quantization.learned import beside, levels_of, round_learned, scale_of
from sparsify.quantization.no_decay import WithoutDecay
from sparsify.quantization.qparams import (
    ACTIVATION,
    ACTIVATION_SYMMETRIC,
    WEIGHT,
    WEIGHT_PER_TENSOR,
    QuantSpec,
    per_axis,
    scale_shape,
)

INT4 = QuantSpec(signed=True, symmetric=True, axis=0, narrow=True, bits=4)
GROUPED = replace(INT4, group=5)
SPECS = {
    "per channel": WEIGHT,
    "per tensor": WEIGHT_PER_TENSOR,
    "4 bits": INT4,
    "zero point": ACTIVATION,
    "groups": GROUPED,
}


def case(spec: QuantSpec) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Values (some beyond the range), clip values and zero points."""
    torch.manual_seed(0)
    values = torch.randn(6, 10) * 2
    clip = torch.rand(scale_shape(spec, values.shape) or (1,)) + 1.0
    zero = None if spec.symmetric else torch.tensor(100, dtype=torch.int32)
    return values, clip, zero


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_forward_and_gradients_are_those_of_the_paper(spec: QuantSpec) -> None:
    values, clip, zero = case(spec)
    values.requires_grad_(), clip.requires_grad_()
    out = round_learned(values, clip, zero, spec, count=10)
    upstream = torch.randn(values.shape)
    out.backward(upstream)

    step = per_axis(clip.detach() / levels_of(spec), spec, 2)
    scaled, offset = values.detach() / step, 0 if zero is None else int(zero)
    level = (scaled.round() + offset).clamp(spec.qmin, spec.qmax) - offset
    torch.testing.assert_close(out.detach(), level * step)
    inside = scaled.round() + offset == level + offset
    assert 0 < inside.float().mean() < 1
    torch.testing.assert_close(values.grad, upstream * inside)
    slope = torch.where(inside, scaled.round() - scaled, level)  # equation 3
    rows = (upstream * slope).view(*(clip.shape if spec.axis == 0 else (1,)), -1)
    per_step = rows.sum(-1)
    g = 1 / (10 * levels_of(spec)) ** 0.5
    torch.testing.assert_close(clip.grad, per_step * g * levels_of(spec), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_step_of_gradient_descent_moves_the_step_size_as_in_the_paper(spec: QuantSpec) -> None:
    values, clip, zero = case(spec)
    clip.requires_grad_()
    round_learned(values, clip, zero, spec, count=10).square().sum().backward()
    scale = (clip.detach() / levels_of(spec)).requires_grad_()
    step = per_axis(scale, spec, 2)
    offset = 0 if zero is None else int(zero)
    scaled = values / step
    rounded = scaled + (scaled.round() - scaled).detach()  # straight through, as the paper writes it
    ((rounded + offset).clamp(spec.qmin, spec.qmax) - offset).mul(step).square().sum().backward()
    rate, g = 1e-6, 1 / (10 * levels_of(spec)) ** 0.5
    ours = scale_of(clip.detach() - rate * clip.grad, spec)
    torch.testing.assert_close(ours, scale.detach() - rate * g * scale.grad, rtol=1e-4, atol=1e-6)


def test_learning_begins_with_the_observed_range_and_rounds_alike() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 8)
    fq = WeightQuant(WEIGHT, 4, learned=True)
    fq.enabled = True
    fq.observe(weight)
    before = fq(weight).detach()
    fq.start_learning()
    assert fq.learning
    torch.testing.assert_close(fq(weight).detach(), before)
    with torch.no_grad():
        fq.clip_value.mul_(0.5)
    fq.follow_parameter()
    assert not torch.equal(fq(weight), before)
    learned = fq(weight).detach()
    fq.learning = False
    torch.testing.assert_close(fq(weight).detach(), learned)  # frozen at what was learned


def test_what_was_never_observed_does_not_learn() -> None:
    fq = ActivationQuant(ACTIVATION, learned=True)
    fq.start_learning()
    assert not fq.learning
    assert ActivationQuant(ACTIVATION).clip_value is None


def test_a_range_that_is_not_learned_now_still_gets_a_gradient() -> None:
    fq = ActivationQuant(ACTIVATION_SYMMETRIC, learned=True)
    x = torch.randn(3, requires_grad=True)
    fq(x).sum().backward()
    assert torch.equal(fq.clip_value.grad, torch.zeros(1))
    assert torch.equal(x.grad, torch.ones(3))
    parameter = nn.Parameter(torch.ones(2))
    assert torch.equal(beside(x.detach(), parameter), x.detach())


def test_a_model_of_another_type_keeps_its_ranges() -> None:
    fq = WeightQuant(INT4, 3, learned=True)
    fq.observe(torch.randn(3, 4))
    fq.start_learning()
    parameter, before = fq.clip_value, fq.clip_value.detach().clone()
    fq.to(torch.bfloat16)
    assert fq.clip_value is parameter
    assert torch.equal(fq.clip_value.detach(), before)


def test_learning_finds_the_step_of_least_error() -> None:
    """On Gaussian weights 4 bits want a range well below the largest weight."""
    torch.manual_seed(0)
    weight = torch.randn(1, 4096)
    fq = WeightQuant(INT4, 1, learned=True)
    fq.enabled = True
    fq.observe(weight)
    start = (fq(weight) - weight).square().mean().item()
    fq.start_learning()
    optimizer = torch.optim.Adam([fq.clip_value], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (fq(weight) - weight).square().mean().backward()
        optimizer.step()
    scales = torch.linspace(0.2, 1.0, 81)
    best = min(((weight / s).round().clamp(-7, 7) * s - weight).square().mean().item() for s in scales)
    assert (fq(weight) - weight).square().mean().item() < 1.03 * best < 0.9 * start


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    groups = [{"params": [model.weight], "weight_decay": 0.5}, {"params": [model.bias], "weight_decay": 0.0}]
    return [
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5),
        torch.optim.AdamW(groups, lr=0.1),
        torch.optim.Adam([model.weight], lr=0.1, weight_decay=0.5),
    ]


@pytest.mark.parametrize("kind", range(3))
def test_no_decay_and_groups_as_they_were(kind: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = optimizers(model)[kind]
    held = WithoutDecay([model.weight, model.bias], optimizer)
    groups = [list(map(id, group["params"])) for group in optimizer.param_groups]
    plain = copy.deepcopy(model)
    for p in (*model.parameters(), *plain.parameters()):
        p.grad = torch.ones_like(p)
    settings = {name: optimizer.defaults[name] for name in ("lr", "momentum") if name in optimizer.defaults}
    free = type(optimizer)(plain.parameters(), weight_decay=0.0, **settings)
    for _ in range(3):
        held.begin()
        held.begin()  # a step that raised has left it open
        optimizer.step()
        held.end()
        free.step()
    assert [list(map(id, group["params"])) for group in optimizer.param_groups] == groups
    torch.testing.assert_close(list(model.parameters()), list(plain.parameters()))
    held.forget()
    assert not optimizer.state
