"""Against SparseML 1.8, step by step (../shared/oracle)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparsify.clock import Clock
from sparsify.modifiers import registry
from sparsify.modifiers.base import Modifier
from sparsify.rates import LearningRates
from sparsify.run import TrainingRun


def load(shared: Path, name: str) -> dict[str, Any]:
    dump: dict[str, Any] = json.loads(gzip.decompress((shared / "oracle/sparseml" / f"{name}.json.gz").read_bytes()))
    return dump


def build(shared: Path, name: str) -> list[Modifier]:
    from sparsify.recipe.recipe import Recipe

    return registry.build(Recipe.load(shared / "oracle/recipes" / f"{name}.yaml"))


@pytest.mark.parametrize(
    "name",
    [
        "hand_lr_set",
        "hand_lr_step",
        "hand_lr_multistep",
        "hand_lr_cosine_restarts",
        "hand_lr_func_linear",
        "hand_lr_func_cyclic",
    ],
)
def test_learning_rate_of_every_step(shared: Path, name: str) -> None:
    dump = load(shared, name)
    clock = Clock(dump["steps_per_epoch"], len(dump["steps"]))
    rates = LearningRates(build(shared, name), clock)
    found = [dump["base_lr"] if (rate := rates.at(i, 0)) is None else rate for i in range(clock.total_steps)]
    assert found == pytest.approx([step["lr"][0] for step in dump["steps"]], rel=1e-9)


def test_deviation_linear_holds_its_final_value_after_its_end(shared: Path) -> None:
    """There, an end that lies between two steps was extrapolated past the final value; ours holds it."""
    (linear,) = (m for m in build(shared, "hand_lr_func_linear") if m.kind == "learning_rate")
    later = linear.model_copy(update={"end_epoch": 4.95})
    extrapolated = 0.01 + (5.0 - 0.5) / (4.95 - 0.5) * (0.001 - 0.01)
    assert extrapolated < 0.001
    assert [later.learning_rate(e, 10) for e in (5.0, 5.5, 100.0)] == [0.001] * 3  # type: ignore[attr-defined]


def test_trainable_parameters_freeze_from_epoch_1_to_3(shared: Path) -> None:
    dump = load(shared, "hand_trainable_param")
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(32, 64))
    model.add_module("classifier", nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=dump["base_lr"])
    run = TrainingRun(build(shared, "hand_trainable_param"), model, optimizer, Clock(dump["steps_per_epoch"], 60))
    run.open()
    moved = []
    for step in dump["steps"]:
        before = model.fc1.weight.clone()
        model(torch.randn(8, 32)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        moved.append(not torch.equal(model.fc1.weight, before))
        assert optimizer.param_groups[0]["lr"] == step["lr"][0]
    run.close()
    # The step that unfreezes had its backward pass before the recipe moved on: it moves nothing yet.
    assert moved == [True] * 10 + [False] * 21 + [True] * 29
