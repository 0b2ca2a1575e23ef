"""Quantization after training."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify import load_recipe
from sparsify.errors import InputError, RecipeError
from sparsify.manager import ModifierManager
from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant
from sparsify.quantization.insert import coverage_of
from sparsify.quantization.layers import quantizers
from tests.helpers.models import tiny_classifier, token_batch


def manager(fields: str = "", more: str = "") -> ModifierManager:
    return load_recipe(f"modifiers:\n  - !PostTrainingQuantizationModifier {{{fields}}}\n{more}")


def batches(count: int = 3) -> list[dict[str, Tensor]]:
    return [{k: v for k, v in token_batch(seed).items() if k != "labels"} for seed in range(count)]


def active(model: nn.Module, kind: type[Any]) -> int:
    return sum(isinstance(fq, kind) and fq.enabled for fq in quantizers(model).values())


def test_static_in_one_shot_rounds_weights_and_activations() -> None:
    model = manager("observer: min_max").apply(tiny_classifier(), batches())
    assert active(model, ActivationQuant) > 0 == active(model, DynamicQuant)
    assert all(fq.enabled for fq in quantizers(model).values())


def test_dynamic_needs_no_data() -> None:
    model = manager("approach: dynamic").apply(tiny_classifier())
    assert active(model, DynamicQuant) > 0 == active(model, ActivationQuant)


def test_static_without_data_says_what_to_do() -> None:
    with pytest.raises(InputError, match="give some batches"):
        manager().apply(tiny_classifier())


def test_as_many_samples_as_asked() -> None:
    few = manager("num_calibration_samples: 5, observer: min_max").apply(tiny_classifier(), batches())
    data = [{k: v[:n] for k, v in b.items()} for n, b in zip((4, 1), batches(), strict=False)]
    same = manager("observer: min_max").apply(tiny_classifier(), data)
    for name, tensor in few.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name


def test_pruning_comes_first_in_one_shot() -> None:
    prune = "  - !MagnitudePruningModifier\n    params: ['re:.*dense.weight']\n    init_sparsity: 0.0\n"
    prune += "    final_sparsity: 0.5\n    start_epoch: 0\n    end_epoch: 1\n    update_frequency: 1\n"
    model = manager("approach: dynamic", prune).apply(tiny_classifier())
    dense = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    rounded: Tensor = dense.weight_fq(dense.weight)  # type: ignore[operator]
    assert int((dense.weight == 0).sum()) == dense.weight.numel() // 2  # type: ignore[union-attr, operator, arg-type]
    assert bool((rounded[dense.weight == 0] == 0).all())


def test_it_acts_after_training_only() -> None:
    model, made = (
        tiny_classifier(),
        manager("approach: static", "  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with made.attach(model, optimizer, steps_per_epoch=2):
        for seed in range(2):
            model(**token_batch(seed)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            assert not any(fq.enabled or fq.observing for fq in quantizers(model).values())
    assert not any(fq.enabled for fq in quantizers(model).values())
    made.calibrate(model, batches())
    assert all(fq.enabled for fq in quantizers(model).values())
    assert model.training


def test_calibrate_does_nothing_without_the_modifier() -> None:
    model = tiny_classifier()
    load_recipe("modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}").calibrate(model, None)
    assert not quantizers(model)


def test_what_stays_float() -> None:
    model = manager("ignore: [classifier, 're:.*layer.0.attention'], quantize_embeddings: false").apply(
        tiny_classifier(), batches()
    )
    coverage = coverage_of(model)
    assert coverage.left["classifier"] == "ignored by the recipe"
    assert not any("embeddings" in n or "layer.0.attention" in n for n in coverage.layers + coverage.attention)
    assert any("layer.1.attention" in n for n in coverage.attention)


def test_matched_names_the_weights() -> None:
    model = tiny_classifier()
    [modifier] = manager("ignore: [classifier]").modifiers
    names = modifier.matched(model)
    assert "bert.encoder.layer.0.output.dense.weight" in names
    assert "classifier.weight" not in names


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("approach: dynamic, observer: mse", "observer: of static quantization only"),
        ("approach: dynamic, num_calibration_samples: 4", "num_calibration_samples: of static"),
        ("percentile: 99", "percentile belongs to observer: percentile"),
        ("observer: percentile, percentile: 10", "greater than 50"),
        ("observer: minmax", "min_max"),
        ("approach: automatic", "static"),
        ("num_calibration_samples: 0", "greater than 0"),
        ("scheme: nonsense", "no scheme is called"),
    ],
)
def test_values_that_cannot_be(fields: str, told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        manager(fields)


def test_formats_that_are_not_built_are_refused_before_the_model_changes() -> None:
    made, model = manager("scheme: {weights: {num_bits: 16}}"), tiny_classifier()
    with pytest.raises(RecipeError, match="not available yet"):
        made.apply(model, batches())
    assert not quantizers(model)


def test_two_quantizations_in_one_recipe_are_refused() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    made = manager(
        "", "  - !QuantizationModifier {start_epoch: 0.0}\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"
    )
    with pytest.raises(RecipeError, match="both quantize"), made.attach(model, optimizer, steps_per_epoch=2):
        pass
