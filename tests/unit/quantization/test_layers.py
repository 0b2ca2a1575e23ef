"""Quantized layers one by one: the swap, whose input quantizer is whose, and the switches of all of them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant, FakeQuant, WeightQuant
from sparsify.quantization.layers import (
    QUANTIZABLE,
    QBatchNorm2d,
    QLayer,
    QReLU,
    adopt_inputs,
    enable_calibrated,
    follow_parameters,
    observe_weights,
    quantize_output,
    quantizers,
    set_enabled,
    set_observing,
    start_learning,
    stored_bits,
    swap_class,
)
from sparsify.quantization.qparams import ACTIVATION, ACTIVATION_DYNAMIC, SMALLEST, WEIGHT, WEIGHT_PER_TENSOR, QuantSpec


def swapped(layer: nn.Module, fq: FakeQuant | None = None, spec: QuantSpec = WEIGHT, **options: bool) -> nn.Module:
    swap_class(layer, spec, fq, **options)
    return layer


def observed(low: float = -1.0, high: float = 1.0) -> ActivationQuant:
    fq = ActivationQuant(ACTIVATION)
    fq.observe(torch.tensor([low, high]))
    return fq


def sharing() -> nn.ModuleList:
    fq = ActivationQuant(ACTIVATION)
    return nn.ModuleList(swapped(nn.Linear(3, 3), fq, owns_input=i == 0) for i in range(3))


LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), lambda: torch.randn(2, 4)),
    "conv": (lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2), lambda: torch.randn(2, 2, 5, 5)),
    "embedding": (lambda: nn.Embedding(6, 4, padding_idx=0), lambda: torch.arange(6).view(2, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_swap_in_place_changes_nothing_until_it_is_switched_on(kind: str, dtype: torch.dtype) -> None:
    make, data = LAYERS[kind]
    torch.manual_seed(0)
    layer, given = make().to(dtype).eval(), data()
    given = given.to(dtype) if given.is_floating_point() else given
    plain, weight, expected = type(layer), layer.weight, layer(given)
    per_channel = kind != "embedding"
    fq = ActivationQuant(ACTIVATION).eval() if per_channel else None
    swapped(layer, fq, WEIGHT if per_channel else WEIGHT_PER_TENSOR)
    assert type(layer) is QUANTIZABLE[plain]
    assert isinstance(layer, QLayer)
    assert layer.weight is weight
    assert layer.weight_fq.scale.shape == ((len(weight),) if per_channel else ())
    assert not layer.weight_fq.training
    assert torch.equal(layer(given), expected)
    set_observing(layer, True)
    observe_weights(layer)
    set_enabled(layer, True)
    layer.train()(given)
    rounded = layer.eval()(given)
    assert rounded.dtype is dtype
    assert not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_input_weight_and_output_are_rounded_each_by_its_own(kind: str) -> None:
    make, data = LAYERS[kind]
    torch.manual_seed(0)
    layer, given = swapped(make(), observed()), data()
    quantize_output(layer, observed(-0.5, 0.5))
    observe_weights(layer)
    layer.weight_fq.observe(layer.weight)
    enable_calibrated(layer)
    plain = copy.deepcopy(layer)
    plain.__class__ = nn.Linear if kind == "linear" else nn.Conv2d
    plain.weight = nn.Parameter(layer.weight_fq.round(layer.weight))
    expected = layer.output_fq.round(plain(layer.input_fq.round(given)))
    assert torch.equal(layer(given), expected)
    assert float(layer(given).detach().abs().max()) <= 0.51


def test_only_the_rows_looked_up_are_rounded_and_padding_stays_zero() -> None:
    table = swapped(nn.Embedding(6, 4, padding_idx=0), spec=WEIGHT_PER_TENSOR)
    table.weight_fq.observe(table.weight)
    enable_calibrated(table)
    ids = torch.tensor([[0, 5, 5]])
    assert torch.equal(table(ids), table.weight_fq.round(table.weight)[ids])
    assert not table(ids)[0, 0].any()
    assert not hasattr(table, "input_fq")


def test_a_module_without_a_weight_is_refused() -> None:
    layer = nn.Linear(2, 2)
    layer.register_parameter("weight", None)
    with pytest.raises(TypeError, match="Linear has no weight"):
        swap_class(layer, WEIGHT, None)


def test_a_shared_input_is_registered_and_observed_by_its_owner_only() -> None:
    model = sharing()
    fq = model[0].input_fq
    assert all(layer.input_fq is fq for layer in model)
    assert [n for n in quantizers(model) if "input" in n] == ["0.input_fq"]
    assert [n for n in model.state_dict() if "input" in n] == ["0.input_fq.scale", "0.input_fq.zero_point"]
    set_observing(model, True)
    set_enabled(model, True)
    model.train()
    given = torch.randn(2, 3)
    model[0](given)
    model[1](given * 100)
    assert (float(fq.count), float(fq.bounds[1])) == (1.0, float(given.max()))
    assert torch.equal(
        model[1](given), nn.functional.linear(fq.round(given), model[1].weight_fq(model[1].weight), model[1].bias)
    )


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_the_next_layer_adopts_an_input_whose_owner_has_gone(gone: int) -> None:
    model = sharing()
    fq = model[0].input_fq
    model[gone] = nn.Identity()
    adopt_inputs(model)
    owner = 1 if gone == 0 else 0
    left = [i for i in range(3) if i != gone]
    assert [n for n in quantizers(model) if "input" in n] == [f"{owner}.input_fq"]
    assert [model[i].owns_input for i in left] == [i == owner for i in left]
    assert all(model[i].input_fq is fq for i in left)
    copied = copy.deepcopy(model)
    assert len({id(copied[i].input_fq) for i in left}) == 1


def test_outputs_are_quantized_behind_norm_and_relu() -> None:
    for made, kind in ((nn.ReLU(), QReLU), (nn.BatchNorm2d(2).eval(), QBatchNorm2d)):
        given = torch.randn(2, 2, 3, 3) * 3
        expected = made(given)
        fq = observed(0.0, 1.0)
        quantize_output(made, fq)
        assert type(made) is kind
        assert made.output_fq is fq
        assert torch.equal(made(given), expected)
        fq.enabled = True
        assert torch.equal(made(given), fq.round(expected))


@pytest.mark.parametrize(
    ("fq", "bits", "stored"),
    [(None, 4, 4), (None, 8, 8), (ActivationQuant(ACTIVATION), 4, 4), (DynamicQuant(ACTIVATION_DYNAMIC), 4, 8)],
    ids=["float input", "8 bits", "never observed", "of each batch"],
)
def test_four_bits_are_packed_where_the_input_is_float(fq: FakeQuant | None, bits: int, stored: int) -> None:
    layer = swapped(nn.Linear(4, 3), fq, replace(WEIGHT, bits=bits))
    set_enabled(layer, True)
    assert stored_bits(layer) == stored
    if isinstance(fq, ActivationQuant):
        fq.observe(torch.ones(1))
        assert stored_bits(layer) == 8
        fq.enabled = False
        assert stored_bits(layer) == 4


def test_four_bits_are_packed_in_linear_layers_only() -> None:
    assert stored_bits(nn.Linear(2, 2)) == 8
    assert stored_bits(swapped(nn.Conv2d(1, 1, 1), spec=replace(WEIGHT, bits=4))) == 8


# switches of a whole model


def world(learned: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    for layer in model:
        swap_class(layer, WEIGHT, ActivationQuant(ACTIVATION, learned=learned), learned=learned)
    return model


def scales(model: nn.Module) -> dict[str, Tensor]:
    return {name: fq.scale.clone() for name, fq in quantizers(model).items() if isinstance(fq, WeightQuant)}


def test_freezing_takes_the_range_of_each_weight_once_more() -> None:
    model = world()
    set_observing(model, True)
    observe_weights(model)
    before = scales(model)
    with torch.no_grad():
        for layer in model:
            layer.weight.mul_(2.0)
    set_observing(model, False)
    after = scales(model)
    assert all(torch.allclose(after[name], 2 * before[name]) for name in before)
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    observe_weights(model)
    assert all(torch.equal(scale, after[name]) for name, scale in scales(model).items())
    assert not any(fq.observing or fq.learning for fq in quantizers(model).values())


def test_what_was_never_observed_is_not_enabled() -> None:
    model = world()
    set_observing(model, True)
    model.train()[0](torch.randn(2, 3))
    for fq in quantizers(model).values():
        fq.calibrating = True
    enable_calibrated(model)
    assert {name: fq.enabled for name, fq in quantizers(model).items()} == {
        "0.weight_fq": True, "0.input_fq": True, "1.weight_fq": False, "1.input_fq": False,
    }  # fmt: skip
    assert not any(fq.observing or fq.calibrating for fq in quantizers(model).values())


def test_what_was_never_observed_goes_on_observing_where_the_rest_learns() -> None:
    model = world(learned=True)
    set_observing(model, True)
    set_enabled(model, True)
    model.train()[0](torch.randn(2, 3))
    start_learning(model)
    assert [n for n, fq in quantizers(model).items() if fq.learning] == ["0.weight_fq", "0.input_fq", "1.weight_fq"]
    assert [n for n, fq in quantizers(model).items() if fq.observing] == ["1.input_fq"]


def test_learned_ranges_stay_above_zero_and_their_scales_follow() -> None:
    model = world(learned=True)
    set_observing(model, True)
    set_enabled(model, True)
    model.train()(torch.randn(2, 3))
    start_learning(model)
    frozen = model[1].weight_fq
    frozen.learning = False
    before = frozen.scale.clone()
    with torch.no_grad():
        for fq in quantizers(model).values():
            fq.clip_value.fill_(254.0)
        model[0].weight_fq.clip_value[1] = -3.0
    follow_parameters(model)
    assert model[0].weight_fq.clip_value.tolist() == pytest.approx([254.0, SMALLEST, 254.0])
    assert model[0].weight_fq.scale.tolist() == pytest.approx([2.0, SMALLEST, 2.0])
    assert float(model[0].input_fq.scale) == pytest.approx(254 / 255)
    assert torch.equal(frozen.scale, before)


def test_a_model_without_learned_ranges_has_nothing_to_follow() -> None:
    model = world()
    before = scales(model)
    follow_parameters(model)
    assert all(torch.equal(scale, before[name]) for name, scale in scales(model).items())
