"""Batch norms folded into quantized convolutions: which, and that neither integers nor outputs change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.export_form import to_export_form
from sparsify.quantization.fold import conv_norm_pairs, fold_batch_norms
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import set_enabled, start_learning
from sparsify.quantization.qparams import WEIGHT, WEIGHT_PER_TENSOR, quantize
from sparsify.quantization.schemes import Scheme, Selection
from tests.helpers.convnets import images, normalized


def chain(conv: nn.Module | None = None, norm: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        conv or nn.Conv2d(1, 4, 3), norm or nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )


def quantized(model: nn.Module, selection: Selection | None = None) -> nn.Module:
    """Calibrated, in eval mode, with statistics, factors and shifts in its norms."""
    model.train()
    for seed in range(3):
        model(images(16, seed))
    model = normalized(model) if all(m.affine for m in model.modules() if isinstance(m, nn.BatchNorm2d)) else model
    insert_quantizers(model.eval(), selection)
    calibrate(model, [images()])
    return model


def integers(conv: nn.Module) -> Tensor:
    fq = conv.weight_fq
    return quantize(conv.weight.detach(), fq.scale, fq.zero_point, fq.spec)


SHAPES: dict[str, Callable[[], nn.Module]] = {
    "bias": chain,
    "no bias": lambda: chain(nn.Conv2d(1, 4, 3, bias=False)),
    "no factors": lambda: chain(norm=nn.BatchNorm2d(4, affine=False)),
    "another eps": lambda: chain(norm=nn.BatchNorm2d(4, eps=0.5)),
    "groups": lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2), *chain()[1:]),
    "padding": lambda: chain(nn.Conv2d(1, 4, 3, padding=2, padding_mode="reflect")),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "weights", [WEIGHT, WEIGHT_PER_TENSOR, replace(WEIGHT, bits=4)], ids=["channel", "one", "4bit"]
)
def test_outputs_and_integers_stay(shape: str, weights: object) -> None:
    model = quantized(SHAPES[shape](), Selection(Scheme(weights=weights)))  # type: ignore[arg-type]
    place = next(i for i, m in enumerate(model) if isinstance(m, nn.BatchNorm2d))
    conv, norm = model[place - 1], model[place]
    if norm.affine:
        with torch.no_grad():
            norm.weight[1].neg_()
            norm.weight[2] = 0.0
    before, signs = integers(conv), torch.ones(4) if norm.weight is None else norm.weight.detach().sign()
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 1
    assert type(folded[place]) is nn.Identity
    assert folded[place - 1].weight_fq.calibrated
    assert torch.equal(integers(folded[place - 1]), (before * signs.view(-1, 1, 1, 1)).to(torch.int8))
    given = images(seed=1)
    torch.testing.assert_close(folded(given), model(given), rtol=1e-4, atol=1e-5)


def test_one_scale_becomes_one_per_channel_without_touching_the_original() -> None:
    model = quantized(chain(), Selection(Scheme(weights=WEIGHT_PER_TENSOR)))
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    factor = torch.rsqrt(model[1].running_var + model[1].eps) * model[1].weight
    assert folded[0].weight_fq.spec == replace(WEIGHT_PER_TENSOR, axis=0)
    assert folded[0].weight_fq.zero_point.shape == (4,)
    torch.testing.assert_close(folded[0].weight_fq.scale, (model[0].weight_fq.scale * factor.abs()).detach())
    assert model[0].weight_fq.scale.shape == ()
    assert isinstance(model[1], nn.BatchNorm2d)


class Reads(nn.Module):
    """A convolution and its norm, and something more that reads the output or the weight."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.what = what
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = torch.relu(self.norm(y))
        if self.what == "output":
            return z + y
        if self.what == "twice":
            return z + self.norm(z)
        if self.what == "weight":
            return functional.conv_transpose2d(z, self.conv.weight)
        return z


class NormAct(nn.BatchNorm2d):
    """A norm with its activation in it, as timm has them."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


def test_pairs_are_convolution_norm_and_where_the_norm_is() -> None:
    model = Reads("nothing else")
    assert list(conv_norm_pairs(model)) == [(model.conv, model.norm, model, "norm")]
    nested = nn.Sequential(nn.ReLU(), nn.Sequential(model))
    assert list(conv_norm_pairs(nested)) == [(model.conv, model.norm, model, "norm")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reads("output"),
        lambda: Reads("twice"),
        lambda: Reads("weight"),
        lambda: chain(norm=NormAct(4)),
        lambda: chain(norm=nn.GroupNorm(2, 4)),
        lambda: chain(norm=nn.BatchNorm2d(4, track_running_stats=False)),
    ],
    ids=[
        "output read",
        "norm called twice",
        "weight read",
        "norm with an activation",
        "no batch norm",
        "no statistics",
    ],
)
def test_what_a_fold_would_change_stays(make: Callable[[], nn.Module]) -> None:
    model = quantized(make())
    assert list(conv_norm_pairs(model)) == []
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 0
    given = images(seed=1)
    assert torch.equal(folded(given), model(given))


def test_a_weight_that_another_kind_of_layer_holds_too_is_left_to_it() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.back = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 1, 3)
            self.back.weight = self.conv.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.back(torch.relu(self.norm(self.conv(x))))

    model = quantized(Tied())
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 1
    assert torch.equal(folded.back.weight, model.back.weight)
    given = images(seed=1)
    torch.testing.assert_close(folded(given), model(given), rtol=1e-4, atol=1e-5)


def test_convolutions_that_do_not_round_are_not_rounded() -> None:
    never = chain().eval()
    insert_quantizers(never)
    assert fold_batch_norms(never) == 0
    model = quantized(chain())
    set_enabled(model, False)
    given, expected = images(seed=1), model(images(seed=1))
    assert fold_batch_norms(copy.deepcopy(model)) == 0
    assert torch.equal(to_export_form(copy.deepcopy(model))(given), expected)
    assert fold_batch_norms(normalized(chain())) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(dtype: torch.dtype) -> None:
    model = quantized(chain()).to(dtype)
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 1
    assert {p.dtype for p in folded.parameters()} == {dtype}
    given = images(seed=1).to(dtype)
    torch.testing.assert_close(folded(given), model(given), rtol=0.05, atol=0.05)


def test_a_learned_range_is_folded_as_it_is() -> None:
    model = quantized(chain(), Selection(learned=True))
    start_learning(model)
    assert model[0].weight_fq.learning
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 1
    given = images(seed=1)
    torch.testing.assert_close(folded(given), model(given), rtol=1e-4, atol=1e-5)


def test_a_fold_can_go_on_training() -> None:
    folded = quantized(chain())
    fold_batch_norms(folded)
    folded(images()).sum().backward()
    assert all(p.grad is not None for p in (folded[0].weight, folded[0].bias))
