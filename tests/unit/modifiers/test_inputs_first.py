"""Weights laid out [in, out], those of transformers' Conv1D: pruned as the Linear that computes the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from sparsify.errors import RecipeError
from sparsify.modifiers.pruning import GMPruningModifier
from sparsify.modifiers.weight_pruning import WeightPruningModifier
from sparsify.select import inputs_first, prunable_parameters, select_parameters
from tests.unit.modifiers.pruning_world import make_mlp, play

NAMES = ["fc1.weight", "fc2.weight"]


def turned() -> nn.Sequential:
    """The toy model with its Linears fc1 and fc2 as Conv1D, in double precision."""
    model = make_mlp().double()
    for name in ("fc1", "fc2"):
        linear = model.get_submodule(name)
        conv = Conv1D(linear.out_features, linear.in_features).double()
        conv.weight.data.copy_(linear.weight.T)
        conv.bias.data.copy_(linear.bias)
        model.set_submodule(name, conv)
    return model


@pytest.mark.parametrize(
    "fields",
    [
        {"mask_type": "unstructured"},
        {"mask_type": "2:4", "final_sparsity": 0.5},
        {"mask_type": "4x1"},
        {"mask_type": "4x1", "progressive": True, "score_type": "magnitude"},
        {"mask_type": "1xchannel", "pruning_scope": "layer"},
        {"mask_type": "4x1", "group_lasso": 0.1},
        {"mask_type": [24, 5], "on_misfit": "pad"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_as_the_linear_that_computes_the_same(fields: dict[str, Any]) -> None:
    linear, conv = make_mlp().double(), turned()
    common = {"params": NAMES, "start_epoch": 0.0, "end_epoch": 2.0, "update_frequency": 0.5}
    for model in (linear, conv):
        play(WeightPruningModifier(**({"final_sparsity": 0.75} | common | fields)), model)
    for name in NAMES:
        expected, found = linear.get_parameter(name), conv.get_parameter(name).T
        assert torch.equal(found == 0, expected == 0)
        assert 0 < int((found == 0).sum()) < found.numel()
        torch.testing.assert_close(found, expected)


def test_what_does_not_fit_is_told_of_outputs_by_inputs() -> None:
    model = turned()
    model.set_submodule("fc1", Conv1D(64, 30).double())
    recipe = {"init_sparsity": 0.0, "final_sparsity": 0.5, "start_epoch": 0.0, "end_epoch": 1.0, "mask_type": "2:4"}
    with pytest.raises(RecipeError, match=r"fc1\.weight: 2:4 groups do not divide 30 inputs"):
        GMPruningModifier(params=["fc1.weight"], **recipe).choose(model)


def test_the_layers_of_gpt2_are_prunable() -> None:
    sizes = {"vocab_size": 16, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    block = "transformer.h.0"
    layers = [f"{block}.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    assert list(inputs_first(model)) == layers
    assert list(prunable_parameters(model)) == layers
    assert list(prunable_parameters(model, ["Linear"])) == []
    assert list(prunable_parameters(model, ["Conv1D"])) == layers
    assert set(select_parameters(model, "__ALL_PRUNABLE__")) == {*layers, "transformer.wpe.weight"}
    assert not inputs_first(make_mlp())
