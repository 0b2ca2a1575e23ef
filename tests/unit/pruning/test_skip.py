from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.pruning.skip import Skipped, skip, skipped
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.layers import quantizers, swap_class
from sparsify.quantization.qparams import ACTIVATION, WEIGHT
from tests.helpers.models import FAMILIES, tiny_classifier, token_batch


class Pair(nn.Module):
    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return hidden * 2, mask


class Unknown(nn.Module):
    def forward(self, hidden):  # type: ignore[no-untyped-def]
        return hidden


def test_gives_what_it_gets_in_the_form_of_the_layer() -> None:
    x = torch.randn(2, 3)
    assert Skipped(nn.Linear(3, 3))(x) is x
    assert Skipped(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))(x) is x
    first, second = Skipped(Pair())(x, mask=torch.ones(2))
    assert first is x
    assert second is None
    assert Skipped(Pair())(hidden=x)[0] is x
    assert not list(Skipped(nn.Linear(3, 3)).parameters())


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.Linear(3, 4), "turns 3 features into 4"),
        (nn.Conv2d(3, 4, 1), "turns 3 channels into 4"),
        (Unknown(), "does not say what its forward returns"),
    ],
)
def test_refuses_what_cannot_be_left_out(layer: nn.Module, told: str) -> None:
    model = nn.ModuleList([nn.ReLU(), layer])
    with pytest.raises(InputError, match=told):
        skip(model, [model[0], layer])
    assert isinstance(model[0], nn.ReLU)


def test_a_shared_layer_goes_everywhere() -> None:
    layer = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": layer, "b": nn.ModuleList([layer, nn.ReLU()])})
    skip(model, [layer])
    assert list(skipped(model)) == ["a"]
    assert model["a"] is model["b"][0]
    assert model["a"].replaces == "Linear"


def encoder(model: nn.Module) -> Any:
    base = getattr(model, model.base_model_prefix)  # type: ignore[arg-type]
    inner = getattr(base, "encoder", None) or base.transformer
    return inner.layer


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_transformers_models(family: str) -> None:
    model = tiny_classifier(family).eval()
    batch = {k: v for k, v in token_batch().items() if k != "labels"}
    whole = model(**batch).logits
    without = copy.deepcopy(model)
    # A model of one layer, the first one, is the reference.
    layers = encoder(without)
    del layers[1]
    skip(model, [encoder(model)[1]])
    assert torch.equal(model(**batch).logits, without(**batch).logits)
    assert not torch.equal(model(**batch).logits, whole)


def test_a_quantizer_shared_with_a_layer_that_goes_stays_in_the_model() -> None:
    """As in a decoder, whose layers all read what the encoder gives: the first one's quantizer serves them all."""
    model = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    shared = ActivationQuant(ACTIVATION)
    for place, layer in enumerate(model):
        swap_class(layer, WEIGHT, shared, owns_input=place == 0)
    skip(model, [model[0]])
    assert quantizers(model)["1.input_fq"] is shared
    assert "1.input_fq.scale" in model.state_dict()
    assert [name for name in quantizers(model) if name.endswith("input_fq")] == ["1.input_fq"]
    skip(model, [model[1]])
    assert "2.input_fq.scale" in model.state_dict()
