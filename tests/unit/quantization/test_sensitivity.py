"""Parts in float, their sensitivities, and models that are float again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.insert import coverage_of, insert_quantizers
from sparsify.quantization.layers import QLayer, quantizers, set_enabled
from sparsify.quantization.qparams import ACTIVATION_DYNAMIC
from sparsify.quantization.remove import remove_quantizers
from sparsify.quantization.schemes import Scheme, Selection
from sparsify.quantization.sensitivity import in_float, parts_of, sensitivities
from tests.helpers.models import tiny_classifier, token_batch

DYNAMIC = Selection(default=Scheme(inputs=ACTIVATION_DYNAMIC))


def batches(count: int = 2) -> list[dict[str, Tensor]]:
    return [{k: v for k, v in token_batch(seed).items() if k != "labels"} for seed in range(count)]


def quantized(selection: Selection | None = None) -> nn.Module:
    model = tiny_classifier(initializer_range=0.2).eval()
    insert_quantizers(model, selection)
    calibrate(model, batches())
    return model


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(**batches(1)[0]).logits
    return found


def test_parts_are_attentions_with_all_they_hold_and_the_layers_outside() -> None:
    parts = parts_of(coverage_of(quantized()))
    assert "bert.encoder.layer.0.attention.self" in parts
    assert not any("query" in part for part in parts)
    assert {"classifier", "bert.embeddings.word_embeddings"} <= set(parts)
    assert any("query" in part for part in parts_of(coverage_of(quantized(DYNAMIC))))


@pytest.mark.parametrize("selection", [None, DYNAMIC])
def test_parts_in_float_are_what_a_recipe_that_ignores_them_gives(selection: Selection | None) -> None:
    names = ("bert.encoder.layer.0.attention.self", "bert.encoder.layer.1.output.dense")
    model = quantized(selection)
    before = logits(model)
    with in_float(model, names):
        inside = logits(model)
    base = selection or Selection()
    assert torch.equal(inside, logits(quantized(Selection(default=base.default, ignore=names))))
    assert not torch.equal(inside, before)
    assert torch.equal(logits(model), before)


def test_all_parts_in_float_are_the_float_model() -> None:
    model = quantized()
    with in_float(model, parts_of(coverage_of(model))):
        inside = logits(model)
    set_enabled(model, False)
    assert torch.equal(inside, logits(model))


def test_the_part_with_the_widest_range_is_the_most_sensitive() -> None:
    model = tiny_classifier(initializer_range=0.2).eval()
    insert_quantizers(model)
    calibrate(model, batches())
    dense = model.get_submodule("bert.encoder.layer.1.intermediate.dense")
    dense.input_fq.scale.mul_(40)  # type: ignore[union-attr, operator]
    found = sensitivities(model, batches())
    assert next(iter(found)) == "bert.encoder.layer.1.intermediate.dense"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(value >= 0 for value in found.values())


@pytest.mark.parametrize("selection", [None, DYNAMIC])
def test_a_model_without_its_quantizers_is_the_float_one(selection: Selection | None) -> None:
    model = quantized(selection)
    set_enabled(model, False)
    plain, names = logits(model), set(tiny_classifier().state_dict())
    remove_quantizers(model)
    assert not quantizers(model)
    assert not any(isinstance(m, QLayer) for m in model.modules())
    assert set(model.state_dict()) == names
    torch.testing.assert_close(logits(model), plain, rtol=0, atol=1e-5)  # by its own attention again
    plain = logits(model)
    insert_quantizers(model, DYNAMIC)  # other settings than before: it counts as float
    calibrate(model, None)
    assert not torch.equal(logits(model), plain)
