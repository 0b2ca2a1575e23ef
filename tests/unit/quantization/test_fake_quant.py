"""Fake quantizers against torch's own operators, and what surrounds them: dtypes, phases, compile."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.testing import CompileCounter

from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant, FakeQuant, WeightQuant
from sparsify.quantization.qparams import ACTIVATION, ACTIVATION_SYMMETRIC, WEIGHT, WEIGHT_PER_TENSOR, QuantSpec


def on(fq: FakeQuant, *, observing: bool = True) -> FakeQuant:
    fq.enabled, fq.observing = True, observing
    return fq.train()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([ACTIVATION, ACTIVATION_SYMMETRIC]), st.floats(0.2, 3.0))
def test_activations_equal_torch_bit_for_bit(seed: int, spec: QuantSpec, spread: float) -> None:
    torch.manual_seed(seed)
    fq = on(ActivationQuant(spec))
    fq(torch.randn(4, 8))
    fq.observing = False
    mine = (torch.randn(16, 8) * spread).requires_grad_()
    theirs = mine.detach().clone().requires_grad_()
    out = fq(mine)
    reference = torch.fake_quantize_per_tensor_affine(theirs, fq.scale, fq.zero_point, spec.qmin, spec.qmax)
    grad = torch.randn_like(out)
    out.backward(grad)
    reference.backward(grad)
    assert torch.equal(out, reference)
    assert torch.equal(mine.grad, theirs.grad)


@pytest.mark.parametrize("observing", [True, False])
def test_weights_equal_torch_per_channel(observing: bool) -> None:
    torch.manual_seed(0)
    fq = on(WeightQuant(WEIGHT, channels=6))
    weight = torch.randn(6, 10, requires_grad=True)
    fq(weight)
    fq.observing = observing
    moved = (weight.detach() * 1.3).requires_grad_()
    other = moved.detach().clone().requires_grad_()
    out = fq(moved)
    reference = torch.fake_quantize_per_channel_affine(other, fq.scale, fq.zero_point, 0, -127, 127)
    out.sum().backward()
    reference.sum().backward()
    assert torch.equal(out, reference)
    assert torch.equal(moved.grad, other.grad)
    assert bool((moved.grad == 1).all()) is observing  # a frozen range clips what grew out of it


def test_a_weight_range_follows_the_weight_only_while_observing() -> None:
    fq = on(WeightQuant(WEIGHT_PER_TENSOR))
    fq(torch.tensor([[1.27]]))
    assert fq.scale.item() == pytest.approx(0.01)
    fq(torch.tensor([[2.54]]))
    assert fq.scale.item() == pytest.approx(0.02)
    fq.eval()
    fq(torch.tensor([[12.7]]))
    assert fq.scale.item() == pytest.approx(0.02)


def test_rows_of_a_table_are_rounded_on_the_tables_grid() -> None:
    fq = on(WeightQuant(WEIGHT_PER_TENSOR))
    table = torch.tensor([[1.27, 0.004], [0.5, -0.3]])
    assert fq(table, table[1:]).tolist() == [pytest.approx([0.5, -0.3])]
    assert fq(table, table[:1]).tolist() == [pytest.approx([1.27, 0.0])]


def test_evaluation_before_the_first_batch_passes_through() -> None:
    fq = on(ActivationQuant(ACTIVATION)).eval()
    values = torch.randn(3)
    assert torch.equal(fq(values), values)
    assert fq.count.item() == 0
    assert not fq.calibrated


def test_switched_off_it_returns_its_input_untouched() -> None:
    fq = ActivationQuant(ACTIVATION)
    values = torch.randn(3)
    assert fq(values) is values


@pytest.mark.parametrize("made", [ActivationQuant, DynamicQuant])
def test_no_values_move_no_range(made: type[FakeQuant]) -> None:
    fq = on(made(ACTIVATION)).train()
    before = fq.scale.clone()
    assert fq(torch.zeros(0, 4)).shape == (0, 4)
    assert torch.equal(fq.scale, before)


def test_calibrating_observes_in_eval_mode() -> None:
    fq = on(ActivationQuant(ACTIVATION)).eval()
    fq.calibrating = True
    fq(torch.tensor([-1.0, 1.55]))
    assert fq.scale.item() == pytest.approx(0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_qparams_stay_float32_and_so_does_the_arithmetic(dtype: torch.dtype) -> None:
    fq = on(ActivationQuant(ACTIVATION))
    fq(torch.randn(64))
    before = fq.scale.clone()
    fq.to(dtype)
    assert {b.dtype for b in fq.buffers()} == {torch.float32, torch.int32}
    assert torch.equal(fq.scale, before)
    values = torch.randn(64).to(dtype).requires_grad_()
    fq.observing = False
    out = fq(values)
    exact = torch.fake_quantize_per_tensor_affine(values.float(), fq.scale, fq.zero_point, 0, 255)
    assert out.dtype == dtype
    assert torch.equal(out, exact.to(dtype))
    out.sum().backward()
    assert values.grad.dtype == dtype


def test_autocast_keeps_float32() -> None:
    fq = on(ActivationQuant(ACTIVATION))
    values = torch.randn(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fq(values).dtype == torch.float32


def test_state_dict_has_scale_and_zero_point_only() -> None:
    fq = on(ActivationQuant(ACTIVATION))
    fq(torch.randn(8))
    assert set(fq.state_dict()) == {"scale", "zero_point"}
    other = ActivationQuant(ACTIVATION)
    other.load_state_dict(fq.state_dict())
    assert other.calibrated
    assert torch.equal(other.scale, fq.scale)
    assert torch.equal(copy.deepcopy(fq).bounds, fq.bounds)


def test_one_compilation_a_phase() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = ActivationQuant(ACTIVATION)
            self.weight = WeightQuant(WEIGHT, channels=4)
            self.w = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.input(x) @ self.weight(self.w)

    torch._dynamo.reset()
    counted = CompileCounter()
    net = Net().train()
    run = torch.compile(net, backend=counted, fullgraph=True)
    eager = copy.deepcopy(net)
    frames = []
    for phase in ((False, False), (True, True), (True, False)):
        for model in (net, eager):
            for fq in (model.input, model.weight):
                fq.enabled, fq.observing = phase
        for seed in range(3):
            torch.manual_seed(seed)
            x = torch.randn(5, 4)
            assert torch.equal(run(x), eager(x))
        frames.append(counted.frame_count)
    assert frames == [1, 2, 3]


def test_printing_says_format_and_phase() -> None:
    fq = on(WeightQuant(WEIGHT, channels=2))
    assert "int8, axis=0, observing" in repr(fq)
