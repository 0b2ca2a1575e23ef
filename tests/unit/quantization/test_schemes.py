"""Which module gets which scheme."""

from __future__ import annotations

import pytest
from torch import nn

from sparsify.errors import RecipeError
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.qparams import WEIGHT_PER_TENSOR
from sparsify.quantization.schemes import DEFAULT, Scheme, Selection
from tests.helpers.models import tiny_classifier

PER_TENSOR = Scheme(weights=WEIGHT_PER_TENSOR)


def layered() -> nn.Module:
    return nn.ModuleDict({f"layer{i}": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for i in (1, 2, 10)})


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        (("layer1",), {"layer1.0"}),  # not layer10: a name is no prefix of another
        (("layer1.0", "layer10"), {"layer1.0", "layer10.0"}),
        (("re:layer1",), {"layer1.0", "layer10.0"}),
        (("Linear",), {"layer1.0", "layer2.0", "layer10.0"}),
        (("Sequential",), {"layer1.0", "layer2.0", "layer10.0"}),
        (("LayerNorm", "Tensor", "SiLU", "Tanh"), set()),
    ],
)
def test_ignore(ignore: tuple[str, ...], left: set[str]) -> None:
    assert set(insert_quantizers(layered(), Selection(ignore=ignore)).left) == left


@pytest.mark.parametrize(
    ("rule", "near"),
    [("layer3", "layer1"), ("layer1.7", "layer1.0"), ("Linaer", "layer"), ("re:nothing", ""), ("re:(", "")],
)
@pytest.mark.parametrize("field", ["ignore", "overrides"])
def test_what_matches_nothing_is_refused_with_near_names(field: str, rule: str, near: str) -> None:
    chosen = Selection(ignore=(rule,)) if field == "ignore" else Selection(overrides={rule: None})
    with pytest.raises(RecipeError) as caught:
        insert_quantizers(layered(), chosen)
    assert repr(rule) in caught.value.problems[0].message
    assert near in (caught.value.hint or "")


def test_not_strict_lets_it_pass() -> None:
    assert not insert_quantizers(layered(), Selection(ignore=("nowhere",), strict=False)).left


def test_the_most_specific_override_wins() -> None:
    model = layered()
    rules = {"Linear": None, "re:layer1": PER_TENSOR, "layer10": DEFAULT, "layer10.0": PER_TENSOR}
    chosen = Selection(overrides=rules)
    assert chosen.scheme_of(model, "layer10.0") == PER_TENSOR
    assert chosen.scheme_of(model, "layer1.0") == PER_TENSOR
    assert chosen.scheme_of(model, "layer2.0") == "left float by scheme_overrides"


def test_submodules_bound_linears_and_attention_but_not_embeddings() -> None:
    model = tiny_classifier()
    coverage = insert_quantizers(model, Selection(submodules=("bert.encoder.layer.0",)))
    assert [n for n in coverage.layers if "embeddings" in n]
    others = [n for n in coverage.layers if "embeddings" not in n]
    assert others
    assert all(n.startswith("bert.encoder.layer.0.") for n in others)
    assert coverage.attention == ("bert.encoder.layer.0.attention.self",)
    assert coverage.left["classifier"] == "outside the recipe's submodules"


def test_a_submodule_of_another_architecture_is_an_error_naming_near_ones() -> None:
    model = tiny_classifier("distilbert")
    with pytest.raises(RecipeError) as caught:
        insert_quantizers(model, Selection(submodules=("bert.embeddings", "bert.encoder", "classifier")))
    messages = [str(p) for p in caught.value.problems]
    assert len(messages) == 2
    assert "'bert.embeddings'" in messages[0]
    assert "distilbert.embeddings" in messages[0]


def test_embeddings_can_be_left_out() -> None:
    coverage = insert_quantizers(tiny_classifier(), Selection(embeddings=False))
    assert not [n for n in coverage.layers if "embeddings" in n]


@pytest.mark.parametrize("name", ["QATMatMul", "QuantizableMatMul", "BMMLeftInput_QK", "BertSelfAttention"])
def test_attention_matmuls_can_be_ignored(name: str) -> None:
    model = tiny_classifier()
    coverage = insert_quantizers(model, Selection(ignore=(name,)))
    assert not coverage.attention
    assert coverage.attention_reason
    assert ("bert.encoder.layer.0.attention.self.query" in coverage.layers) == (name != "BertSelfAttention")


def test_a_float_override_of_inputs_leaves_weights_integer() -> None:
    model = layered()
    insert_quantizers(model, Selection(overrides={"layer2": Scheme(inputs=None)}))
    assert model["layer2"][0].input_fq is None
    assert model["layer1"][0].input_fq is not None
