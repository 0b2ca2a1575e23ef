from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify.modifiers.pruning import GMPruningModifier
from sparsify.modifiers.reporting import SparsificationLoggingModifier
from tests.unit.modifiers.pruning_world import make_mlp, play

PRUNE = {"init_sparsity": 0.5, "final_sparsity": 0.75, "start_epoch": 1.0, "end_epoch": 2.0, "params": ["fc1.weight"]}


def test_says_what_the_model_holds_at_each_look(caplog: pytest.LogCaptureFixture) -> None:
    modifier = SparsificationLoggingModifier(end_epoch=3.0)
    seen: dict[int, dict[str, float]] = {}
    with caplog.at_level("INFO", "sparsify"):
        play(
            [GMPruningModifier(**PRUNE), modifier],  # type: ignore[arg-type]
            make_mlp(),
            after=lambda step, run: seen.update({step: run.values()}),
        )
    assert seen[0]["prunable_sparsity"] == 0.0
    assert seen[10]["layer_sparsity/fc1.weight"] == 0.5
    assert seen[19]["layer_sparsity/fc1.weight"] == 0.5  # it looks once an epoch
    assert seen[20]["layer_sparsity/fc1.weight"] == 0.75
    share = 0.75 * 32 * 64 / (32 * 64 + 64 * 64 + 64 * 4)
    assert seen[20]["prunable_sparsity"] == pytest.approx(share)
    assert seen[20]["active_quantizers"] == 0.0
    assert "prunable_sparsity" not in seen[30]
    assert "epoch 2.00: 24.00% of 6400 prunable weights are zero, 0 quantizers act" in caplog.text


def test_counts_quantizers_that_act() -> None:
    from sparsify.modifiers.quantization import QuantizationModifier

    quantize, modifier = QuantizationModifier(start_epoch=1.0), SparsificationLoggingModifier()
    model, seen = make_mlp(), []
    quantize.on_structure(model)
    play([modifier, quantize], model, epochs=3, after=lambda step, run: seen.append(run.values()["active_quantizers"]))
    assert seen[0] == 0
    assert seen[-1] > 0


def test_a_resumed_run_goes_on_saying_the_last_look() -> None:
    modifier = SparsificationLoggingModifier()
    model = make_mlp()
    with torch.no_grad():
        model.get_parameter("fc1.weight").zero_()
    play(modifier, model, epochs=1, last=5)
    again = SparsificationLoggingModifier()
    again.load_state_dict(modifier.state_dict(), None)  # type: ignore[arg-type]
    assert again.values(0.5) == modifier.values(0.5)
    assert again.values(0.5)["layer_sparsity/fc1.weight"] == 1.0


def test_a_layer_without_elements_is_not_sparse() -> None:
    model = make_mlp()
    model.fc1.register_module("none", nn.Linear(0, 4))
    modifier, seen = SparsificationLoggingModifier(), []
    play(modifier, model, epochs=1, after=lambda step, run: seen.append(run.values()))
    assert seen[-1]["layer_sparsity/fc1.none.weight"] == 0.0
