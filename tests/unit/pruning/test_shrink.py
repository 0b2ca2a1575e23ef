"""The smaller model says what the masked one says, and trains as it would have."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from sparsify.errors import InputError, StateError
from sparsify.pruning.shrink import apply_widths, shrink, widths_of
from sparsify.pruning.structures import find_structures
from tests.helpers.models import FAMILIES, tiny_classifier, token_batch
from tests.helpers.units import half, kill, tiny_vit, uneven


def inputs() -> dict[str, Any]:
    return {name: value for name, value in token_batch().items() if name != "labels"}


@pytest.mark.parametrize("going", [half, uneven])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_output_is_that_of_the_masked_model(family: str, going: Any) -> None:
    model = tiny_classifier(family).eval()
    left = kill(model, going)
    before = model(**inputs()).logits
    change = shrink(model)
    assert {s.name: s.units for s in find_structures(model)} == left
    assert change.parameters[1] == sum(p.numel() for p in model.parameters()) < change.parameters[0]
    torch.testing.assert_close(model(**inputs()).logits, before, rtol=0, atol=1e-5)


def test_vision_transformers() -> None:
    model = tiny_vit()
    kill(model, uneven)
    pixels = torch.randn(2, 3, 16, 16)
    before = model(pixels).logits
    assert shrink(model)
    torch.testing.assert_close(model(pixels).logits, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_with_either_attention_function(attention: str) -> None:
    model = tiny_classifier("bert", attn_implementation=attention).eval()
    kill(model, half)
    before = model(**inputs()).logits
    shrink(model)
    torch.testing.assert_close(model(**inputs()).logits, before, rtol=0, atol=1e-5)


def test_one_unit_always_stays() -> None:
    model = tiny_classifier("bert").eval()
    kill(model, lambda index, structure: structure.units)
    before = model(**inputs()).logits
    shrink(model)
    assert set(widths_of(model).values()) == {1}
    torch.testing.assert_close(model(**inputs()).logits, before, rtol=0, atol=1e-5)


def test_nothing_dead_nothing_done() -> None:
    model = tiny_classifier("bert")
    config = model.config
    change = shrink(model)
    assert not change
    assert "nothing was removed" in str(change)
    assert model.config is config


def test_widths_in_multiples_keep_some_dead_units() -> None:
    model = tiny_classifier("bert").eval()
    kill(model, lambda i, s: 37 if s.kind == "neurons" else 1)
    before = model(**inputs()).logits
    shrink(model, multiple_of=8)
    assert {s.units for s in find_structures(model, ["neurons"])} == {32}
    assert {s.units for s in find_structures(model, ["heads"])} == {1}
    torch.testing.assert_close(model(**inputs()).logits, before, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="at least 1, got 0"):
        shrink(model, multiple_of=0)


def test_only_the_kinds_asked_for() -> None:
    model = tiny_classifier("bert")
    kill(model, half)
    shrink(model, kinds=["heads"])
    assert {s.kind: s.units for s in find_structures(model)} == {"heads": 1, "neurons": 64}


def test_a_model_of_no_known_kind() -> None:
    with pytest.raises(InputError, match=r"has no .* that can be removed as a whole"):
        shrink(nn.Sequential(nn.Linear(2, 2)))
    assert not shrink(nn.Sequential(nn.Linear(2, 2)), strict=False)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    out = model(**token_batch())
    out.loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return out.loss.detach()


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-1, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_the_masked_model_would_have(name: str) -> None:
    masked, small = tiny_classifier("bert"), None
    optimizer = OPTIMIZERS[name](masked.parameters())
    for _ in range(3):
        step(masked, optimizer)
    kill(masked, uneven)
    small = copy.deepcopy(masked)
    other = OPTIMIZERS[name](small.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    shrink(small, other)
    for parameter in small.parameters():
        shapes = {v.shape for v in other.state[parameter].values() if v.numel() > 1}
        assert shapes <= {parameter.shape}
    for _ in range(3):
        expected, found = step(masked, optimizer), step(small, other)
        kill(masked, uneven)  # hold the masks
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_that_wait_are_cut_and_an_old_graph_does_not_matter() -> None:
    model = tiny_classifier("bert")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kill(model, half)
    old = model(**token_batch()).loss  # stays referred to, with its graph
    old.backward()
    weight = model.bert.encoder.layer[0].intermediate.dense.weight
    full = weight.grad.clone()
    change = shrink(model, optimizer)
    kept = change.kept["bert.encoder.layer.0.intermediate.dense"]
    assert torch.equal(weight.grad, full[kept])
    assert model.bert.encoder.layer[0].intermediate.dense.weight is weight
    model(**token_batch()).loss.backward()
    assert weight.grad.shape == weight.shape


def test_factored_state_of_adafactor() -> None:
    model = tiny_classifier("bert")
    kill(model, half)
    optimizer = torch.optim.Adafactor(model.parameters(), lr=1e-3)
    step(model, optimizer)
    kill(model, half)
    shrink(model, optimizer)
    row = optimizer.state[model.bert.encoder.layer[0].intermediate.dense.weight]["row_var"]
    assert row.shape == (32, 1)
    step(model, optimizer)


def test_state_that_cannot_be_cut_is_refused_and_nothing_changed() -> None:
    model = tiny_classifier("bert")
    kill(model, half)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight = model.bert.encoder.layer[1].output.dense.weight  # the last that would be cut
    optimizer.state[weight]["preconditioner"] = torch.eye(7)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    with pytest.raises(InputError, match=r"1.output.dense.weight: preconditioner of the optimizer has shape \[7, 7\]"):
        shrink(model, optimizer)
    assert {name: p.shape for name, p in model.named_parameters()} == shapes


def test_recorded_widths_give_a_fresh_model_the_shape() -> None:
    model = tiny_classifier("roberta").eval()
    kill(model, uneven)
    shrink(model)
    fresh = tiny_classifier("roberta", seed=1).eval()
    apply_widths(fresh, widths_of(model))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(**inputs()).logits, model(**inputs()).logits)
    apply_widths(fresh, widths_of(model))  # a second time changes nothing


def test_widths_of_another_model_are_refused() -> None:
    model = tiny_classifier("bert")
    with pytest.raises(
        StateError, match=r"width of 3 for encoder.layer.7.attention.self, but this BertFor.* has no such"
    ):
        apply_widths(model, {"encoder.layer.7.attention.self": 3})
    with pytest.raises(StateError, match=r"width of 99 .* has 64 there"):
        apply_widths(model, {"encoder.layer.0.intermediate.dense": 99})
