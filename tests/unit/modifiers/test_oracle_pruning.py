"""Pruning recipes that SparseML really ran, step by step, through our manager; deviations are stated where tested."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers.masking import MaskModifier
from tests.unit.modifiers.pruning_world import make_mlp, train_step

RECIPES = [
    "hand_mag_cubic_2of4_f0.5",
    "hand_mag_cubic_block4_f0.5",
    "hand_mag_cubic_unstructured_f-1",
    "hand_mag_cubic_unstructured_f0.5",
    "hand_mag_dictfinal",
    "hand_mag_from_param",
    "hand_mag_global",
    "hand_mag_inverse_cubic_unstructured_f0.5",
    "hand_mag_linear_unstructured_f0.5",
    "hand_acdc",
    "hand_constant",
]
Row = dict[str, Any]


def oracle(shared: Path, name: str) -> Row:
    with gzip.open(shared / "oracle" / "sparseml" / f"{name}.json.gz", "rt") as stream:
        loaded: Row = json.load(stream)
    return loaded


def manager_of(shared: Path, name: str) -> ModifierManager:
    return load_recipe(shared / "oracle" / "recipes" / f"{name}.yaml")


def drive(manager: ModifierManager, model: nn.Module, steps_per_epoch: int, epochs: int) -> list[Row]:
    """Target, mask sparsity and zeros during each optimizer step, and one row more: after the run's last."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    modifier = next(m for m in manager.modifiers if isinstance(m, MaskModifier))
    rows: list[Row] = []

    def note(epoch: float) -> None:
        weights = {name: model.get_parameter(name) for name in modifier.parameter_names}
        zeros = {name: int((w == 0).sum()) / w.numel() for name, w in weights.items()}
        rows.append({"target": modifier.values(epoch), "mask": dict(modifier.mask_sparsity), "zeros": zeros})

    with manager.attach(model, optimizer, steps_per_epoch, epochs=epochs) as run:
        for step in range(steps_per_epoch * epochs):
            run.begin_step()
            train_step(model, optimizer, step)
            note(step / steps_per_epoch)
        note(epochs)
    return rows


def expected_mask(row: Row, names: list[str]) -> dict[str, float]:
    masks = row["pruning"][0]["mask_sparsity"]
    if "*" in masks:
        return dict.fromkeys(names, masks["*"])
    return {name.removesuffix(".sparsity_mask"): value for name, value in masks.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_masks_of_every_step(shared: Path, name: str) -> None:
    theirs = oracle(shared, name)
    model = make_mlp()
    rows = drive(manager_of(shared, name), model, theirs["steps_per_epoch"], theirs["epochs"])
    weights = {n: model.get_parameter(n).numel() for n in rows[0]["mask"]}
    assert len(rows) == len(theirs["steps"]) + 1
    for row, step in zip(rows, theirs["steps"], strict=False):
        wanted = expected_mask(step, list(weights))
        if name in ("hand_mag_global", "hand_acdc"):
            # Which layer loses how much depends on the weights, which are not in the oracle: totals must agree.
            total = sum(weights.values())
            mine = sum(row["mask"][n] * size for n, size in weights.items()) / total
            assert mine == pytest.approx(sum(wanted[n] * size for n, size in weights.items()) / total, abs=1e-6)
        else:
            assert row["mask"] == pytest.approx(wanted, abs=1e-6), step["step"]
        assert all(row["zeros"][n] >= row["mask"][n] for n in weights), step["step"]


@pytest.mark.parametrize("name", RECIPES)
def test_targets_at_every_update(shared: Path, name: str) -> None:
    """Their target is the one of the last update; ours is the schedule's, so they meet where an update happens."""
    theirs = oracle(shared, name)
    manager = manager_of(shared, name)
    modifier = next(m for m in manager.modifiers if isinstance(m, MaskModifier))
    drive(manager, make_mlp(), theirs["steps_per_epoch"], theirs["epochs"])
    before: Any = None
    compared = 0
    for step in theirs["steps"]:
        target = step["pruning"][0]["target"]
        if target is not None and target != before:
            ours = modifier.values(step["epoch"])
            wanted = sorted(target) if isinstance(target, list) else [target]
            got = sorted(v for k, v in ours.items() if k != "sparsity") or [ours["sparsity"]]
            if len(got) != len(wanted):  # the start of several finals is one number there
                wanted = wanted * len(got)
            assert got == pytest.approx(wanted, abs=1e-6), step["step"]
            compared += 1
        before = target
    assert compared >= (0 if name == "hand_constant" else 1)


@pytest.mark.parametrize("name", RECIPES)
def test_final_weights_are_as_sparse(shared: Path, name: str) -> None:
    theirs = oracle(shared, name)
    model = make_mlp()
    rows = drive(manager_of(shared, name), model, theirs["steps_per_epoch"], theirs["epochs"])
    wanted = theirs["final_weight_sparsity"]
    sizes = {n: model.get_parameter(n).numel() for n in rows[-1]["zeros"]}
    total = sum(rows[-1]["zeros"][n] * size for n, size in sizes.items())
    assert total == pytest.approx(sum(wanted[n] * size for n, size in sizes.items()), abs=0.01)


def test_end_at_the_end_of_the_run_deviates_in_being_reached(shared: Path) -> None:
    """Deviation: with end_epoch the run's last epoch they stop at the last interpolated value; ours is exact."""
    text = (shared / "oracle" / "recipes" / "hand_mag_cubic_unstructured_f0.5.yaml").read_text()
    text = text.replace("end_epoch: 8.0", "end_epoch: 6.0")
    model = make_mlp()
    rows = drive(load_recipe(text), model, 10, 6)
    theirs = oracle(shared, "hand_mag_cubic_unstructured_f0.5")["steps"]
    last_of_theirs = expected_mask(theirs[58], ["fc1.weight"])["fc1.weight"]
    assert rows[58]["mask"]["fc1.weight"] == pytest.approx(last_of_theirs, abs=1e-6)
    assert last_of_theirs < 0.8995
    assert rows[60]["zeros"]["fc1.weight"] == round(64 * 32 * 0.9) / (64 * 32)


def test_gradual_two_of_four_deviates_in_being_allowed(shared: Path) -> None:
    """Deviation: they refuse an N:M schedule that does not stand at its ratio all the time."""
    text = (shared / "oracle" / "recipes" / "hand_mag_cubic_2of4_f0.5.yaml").read_text()
    rows = drive(load_recipe(text.replace("init_sparsity: 0.5", "init_sparsity: 0.0")), make_mlp(), 10, 8)
    course = [row["mask"]["fc2.weight"] for row in rows]
    assert course == sorted(course)
    assert len(set(course)) > 5
    assert course[-1] == 0.5


def test_an_end_that_never_comes_deviates_in_being_refused(shared: Path) -> None:
    """Deviation: with end_epoch -1 they stay at init_sparsity for ever, without a word."""
    text = (shared / "oracle" / "recipes" / "hand_mag_linear_unstructured_f0.5.yaml").read_text()
    with pytest.raises(RecipeError, match="cannot be -1"):
        load_recipe(text.replace("end_epoch: 6.0", "end_epoch: -1"))
