"""Heads and neurons of known families; weights that two layers share are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify.errors import InputError
from sparsify.pruning.slots import Slot
from sparsify.pruning.structures import find_structures, merge, require_structures, unit_parameters
from tests.helpers.models import FAMILIES, tiny_classifier
from tests.helpers.units import tiny_vit


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_has_heads_and_neurons(family: str) -> None:
    found = find_structures(tiny_classifier(family))
    assert [(s.kind, s.units) for s in found] == [("heads", 2), ("neurons", 64)] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_kinds_choose(family: str) -> None:
    assert {s.kind for s in find_structures(tiny_classifier(family), ["heads"])} == {"heads"}


def test_a_head_is_its_rows_of_query_key_value_and_its_columns_of_the_output() -> None:
    heads = find_structures(tiny_classifier("bert"))[0]
    at = "bert.encoder.layer.0.attention"
    assert heads.writers == tuple(Slot(f"{at}.self.{name}", 0, 16) for name in ("query", "key", "value"))
    assert heads.readers == (Slot(f"{at}.output.dense", 1, 16),)


def test_deberta_heads_have_rows_in_the_position_projections_too() -> None:
    heads = find_structures(tiny_classifier("deberta-v2"))[0]
    assert [slot.module.rpartition(".")[2] for slot in heads.writers] == [
        *("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj")
    ]


def test_deberta_with_shared_position_projections() -> None:
    heads = find_structures(tiny_classifier("deberta-v2", share_att_key=True))[0]
    assert len(heads.writers) == 3


def test_vision_transformers() -> None:
    assert [(s.kind, s.units) for s in find_structures(tiny_vit())] == [("heads", 4), ("neurons", 64)] * 2


def test_biases_lie_along_rows_only() -> None:
    model = tiny_classifier("bert")
    names = [name for _, _, name in unit_parameters(model, find_structures(model)[1])]
    assert [name.removeprefix("bert.encoder.layer.0.") for name in names] == [
        *("intermediate.dense.weight", "intermediate.dense.bias", "output.dense.weight")
    ]


def test_a_layer_whose_weight_another_one_shares_is_left_alone() -> None:
    model = tiny_classifier("bert")
    first, second = (layer.intermediate.dense for layer in model.bert.encoder.layer)
    second.weight = first.weight
    assert [s.kind for s in find_structures(model)] == ["heads", "heads"]


def test_attention_that_is_only_named_alike_is_left_alone() -> None:
    class BertSelfAttention(nn.Module):  # no out matrix beside it
        num_attention_heads, attention_head_size = 2, 4

        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    assert find_structures(nn.ModuleList([BertSelfAttention()]), ["heads"]) == []


def test_an_unknown_model_is_an_error_that_lists_what_is_known() -> None:
    with pytest.raises(InputError, match=r"Linear has no heads .*BERT, DistilBERT, RoBERTa.*DeBERTa-v2, ViT"):
        require_structures(nn.Linear(3, 3), ["heads"])


def test_merged_structures_have_the_slots_of_all() -> None:
    model = tiny_classifier("bert")
    first, second = find_structures(model, ["neurons"])
    both = merge([first, second])
    assert both.name == first.name
    assert both.slots == (*first.writers, *second.writers, *first.readers, *second.readers)


def test_layers_of_different_widths_cannot_be_merged() -> None:
    model = tiny_classifier("bert")
    heads, neurons = find_structures(model)[:2]
    with pytest.raises(InputError, match=r"attention.self 2, .*intermediate.dense 64"):
        merge([heads, neurons])


def test_it_works_on_models_without_data() -> None:
    with torch.device("meta"):
        assert len(find_structures(tiny_classifier("bert"))) == 4
