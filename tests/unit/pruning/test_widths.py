"""What the config says of a shrunk model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsify.pruning.shrink import shrink
from sparsify.pruning.widths import read_widths
from tests.helpers.models import tiny_classifier
from tests.helpers.units import half, kill, tiny_vit, uneven


def test_equal_widths_become_the_configs_own_field() -> None:
    model = tiny_classifier("bert")
    kill(model, half, ["neurons"])
    shrink(model)
    assert model.config.intermediate_size == 32
    assert read_widths(model.config) == {}
    type(model)(model.config).load_state_dict(model.state_dict())  # plain transformers


def test_a_class_that_reads_the_head_size_needs_no_record_at_all() -> None:
    model = tiny_vit()
    kill(model, half)
    shrink(model)
    assert (model.config.num_attention_heads, model.config.head_dim, model.config.intermediate_size) == (2, 8, 32)
    assert read_widths(model.config) == {}
    twin = type(model)(model.config).eval()
    twin.load_state_dict(model.state_dict())
    pixels = torch.randn(1, 3, 16, 16)
    assert torch.equal(twin(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize("family", ["bert", "distilbert", "deberta-v2"])
def test_heads_are_recorded_where_the_class_derives_their_size(family: str) -> None:
    model = tiny_classifier(family)
    kill(model, half)
    shrink(model)
    assert list(read_widths(model.config).values()) == [1, 1]
    assert not any(name.startswith(model.base_model_prefix) for name in read_widths(model.config))


def test_uneven_widths_are_recorded_by_layer() -> None:
    model = tiny_classifier("bert")
    kill(model, uneven, ["neurons"])
    shrink(model)
    assert model.config.intermediate_size == 64
    assert read_widths(model.config) == {
        "encoder.layer.0.intermediate.dense": 32,
        "encoder.layer.1.intermediate.dense": 43,
    }


def test_a_second_shrink_starts_from_the_first() -> None:
    model = tiny_classifier("bert")
    for _ in range(2):
        kill(model, half, ["neurons"])
        shrink(model)
    assert model.config.intermediate_size == 16
    kill(model, uneven, ["neurons"])
    shrink(model)
    assert read_widths(model.config) == {
        "encoder.layer.0.intermediate.dense": 8,
        "encoder.layer.1.intermediate.dense": 11,
    }


def test_a_record_that_is_no_longer_needed_goes() -> None:
    model = tiny_classifier("bert")
    kill(model, lambda i, s: 10 if i == 0 else 20, ["neurons"])
    shrink(model)
    assert read_widths(model.config)
    kill(model, lambda i, s: s.units - 40, ["neurons"])
    shrink(model)
    assert read_widths(model.config) == {}
    assert model.config.intermediate_size == 40


def test_other_models_of_the_same_config_keep_theirs() -> None:
    model = tiny_classifier("bert")
    other = type(model)(model.config)
    before = copy.deepcopy(model.config.to_dict())
    kill(model, half)
    shrink(model)
    assert other.config.to_dict() == before
    assert all(m.config is model.config for m in model.modules() if hasattr(m, "config"))


def test_a_model_without_config_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    kill(model, half)
    assert shrink(model)
    assert not hasattr(model, "config")
