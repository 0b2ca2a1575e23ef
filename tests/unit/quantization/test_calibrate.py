"""Calibration of whole models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.quantization.calibrate import calibrate, first_samples
from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import QLinear, quantizers
from sparsify.quantization.qparams import ACTIVATION_DYNAMIC
from sparsify.quantization.range_observers import OBSERVERS
from sparsify.quantization.schemes import Scheme, Selection
from tests.helpers.models import tiny_classifier, token_batch


def batches(count: int = 3) -> list[dict[str, Tensor]]:
    return [{k: v for k, v in token_batch(seed).items() if k != "labels"} for seed in range(count)]


def ranges(model: nn.Module) -> dict[str, tuple[float, int]]:
    return {
        n: (float(q.scale), int(q.zero_point)) for n, q in quantizers(model).items() if isinstance(q, ActivationQuant)
    }


def static(observer: str, **options: Any) -> nn.Module:
    model = tiny_classifier().eval()
    insert_quantizers(model)
    calibrate(model, batches(), observer=observer, **options)
    return model


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_leaves_a_model_that_is_near_the_float_one(observer: str) -> None:
    model, plain, inputs = static(observer), tiny_classifier().eval(), batches(1)[0]
    assert all(fq.enabled and fq.calibrated and not fq.observing for fq in quantizers(model).values())
    assert all(fq.observer is None for fq in quantizers(model).values() if isinstance(fq, ActivationQuant))
    with torch.no_grad():
        gap = (model(**inputs).logits - plain(**inputs).logits).abs().max()
    assert 0 < float(gap) < 0.05


@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_second_calibration_forgets_the_first(observer: str) -> None:
    model = static(observer)
    before = ranges(model)
    calibrate(model, [{"input_ids": torch.zeros(1, 2, dtype=torch.long)}], observer=observer)
    assert ranges(model) != before
    calibrate(model, batches(), observer=observer)
    assert ranges(model) == before


def test_observers_that_look_twice_take_a_generator() -> None:
    model = tiny_classifier().eval()
    insert_quantizers(model)
    assert calibrate(model, iter(batches()), observer="mse") == 3
    assert ranges(model) == ranges(static("mse"))


def test_a_shared_input_is_observed_once_and_a_layer_fed_twice_takes_all() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) + self.fc(100 * x)  # type: ignore[no-any-return]

    model = Twice()
    insert_quantizers(model)
    calibrate(model, [torch.ones(1, 4)], observer="min_max")
    assert float(model.fc.input_fq.scale) == pytest.approx(100 / 255)  # type: ignore[union-attr, arg-type]


def dynamic() -> nn.Module:
    model = tiny_classifier().eval()
    insert_quantizers(model, Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC)))
    calibrate(model, None)
    return model


def test_dynamic_ranges_need_no_data_and_are_those_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3))
    insert_quantizers(model, Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC)))
    assert calibrate(model, None) == 0
    layer = model[0]
    assert isinstance(layer, QLinear)
    assert isinstance(layer.input_fq, DynamicQuant)
    for size in (1.0, 1000.0):
        values = torch.randn(5, 6) * size
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = (high - low) / 255
        zero = round(-low / scale)
        rounded = ((values / scale).round() + zero).clamp(0, 255).sub(zero).mul(scale)
        expected = nn.functional.linear(rounded, layer.weight_fq(layer.weight), layer.bias)
        assert torch.allclose(model(values), expected, rtol=1e-4, atol=1e-5 * size)


def test_dynamic_leaves_attention_and_convolutions_float() -> None:
    model = dynamic()
    assert not any("attention_fq" in name for name in quantizers(model))
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    coverage = insert_quantizers(net, Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC)))
    assert coverage.layers == ("2",)
    assert coverage.left == {"0": "ranges of each batch are for matrix products only"}


def test_dynamic_survives_saving_and_copying() -> None:
    model, inputs = dynamic(), batches(1)[0]
    fresh = tiny_classifier(seed=1).eval()
    insert_quantizers(fresh, Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC)))
    fresh.load_state_dict(model.state_dict())
    for fq in quantizers(fresh).values():
        fq.enabled = fq.calibrated
    with torch.no_grad():
        expected = model(**inputs).logits
        assert torch.equal(fresh(**inputs).logits, expected)
        assert torch.equal(copy.deepcopy(model)(**inputs).logits, expected)


def test_gradients_pass_a_dynamic_quantizer() -> None:
    fq = DynamicQuant(ACTIVATION_DYNAMIC)
    fq.enabled = True
    values = torch.randn(4, 4, requires_grad=True)
    fq(values).sum().backward()
    assert torch.equal(values.grad, torch.ones(4, 4))  # type: ignore[arg-type]


def test_first_samples_cut_the_last_batch() -> None:
    made = [{"x": torch.ones(3, 2), "n": 1}, {"x": torch.ones(3, 2), "n": 1}]
    assert [len(b["x"]) for b in first_samples(made, 4)] == [3, 1]
    assert [len(b["x"]) for b in first_samples(made, 3)] == [3]
    assert [len(b["x"]) for b in first_samples(made, None)] == [3, 3]
    assert [len(b[0]) for b in first_samples([(torch.ones(3, 2),)] * 2, 5)] == [3, 2]
    assert [len(b) for b in first_samples([torch.ones(3, 2)] * 2, 5)] == [3, 2]


def test_no_data_for_fixed_ranges_is_an_error_and_leaves_the_model_float() -> None:
    model = tiny_classifier().eval()
    insert_quantizers(model)
    with pytest.raises(InputError, match="there was no batch"):
        calibrate(model, [], observer="entropy")
    assert not any(fq.enabled for fq in quantizers(model).values())


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_values_that_have_no_range_are_told_and_leave_the_model_float(observer: str, value: float) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    insert_quantizers(model, Selection())
    good, bad = torch.randn(3, 4), torch.randn(3, 4)
    bad[1, 2] = value
    with pytest.raises(InputError, match=r"calibration: values at 0.input_fq go from .* which no range of integers"):
        calibrate(model, [good, bad], observer=observer)
    plain = torch.nn.functional.linear(good, model[0].weight, model[0].bias)
    assert torch.equal(model[0].input_fq(good), good)
    assert all(fq.observer is None for fq in quantizers(model).values() if isinstance(fq, ActivationQuant))
    assert torch.allclose(model[0](good), plain, atol=0.05)
    calibrate(model, [good], observer=observer)
    assert model[0].input_fq.calibrated
