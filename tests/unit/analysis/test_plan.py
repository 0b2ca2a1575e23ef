"""The plan: what a run does, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from sparsify.analysis.plan import make_plan
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import WHOLE, pruner, recipe


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(make_plan(load_recipe(WHOLE), 10).to_dict()))


def entry(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(m for m in document["modifiers"] if m["type"] == kind)


def test_the_document_has_the_agreed_keys(document: dict[str, Any]) -> None:
    top = ["recipe", "sha256", "steps_per_epoch", "epochs", "steps", "modifiers", "timeline", "conflicts", "matched"]
    assert list(document) == top
    assert [document[k] for k in ("recipe", "steps_per_epoch", "epochs", "steps")] == ["<string>", 10, 6, 60]
    assert document["sha256"] == load_recipe(WHOLE).recipe.sha256
    assert list(document["modifiers"][0]) == ["path", "type", "fields", "start_step", "end_step", "update_steps"]
    moment = ["step", "epoch", "lr", "sparsity", "weight_decay", "quantization", "bn_frozen", "distillation"]
    assert all(list(m) == moment for m in document["timeline"])
    assert [m["step"] for m in document["timeline"]] == list(range(60))
    assert document["conflicts"] == []
    assert document["matched"] == {}


def test_modifiers_have_their_steps_and_fields(document: dict[str, Any]) -> None:
    pruning = entry(document, "GMPruningModifier")
    assert pruning["path"] == "pruning_modifiers[0]"
    assert (pruning["start_step"], pruning["end_step"]) == (5, 30)
    assert pruning["update_steps"] == [5, 10, 15, 20, 25, 30]
    assert pruning["fields"]["final_sparsity"] == 0.8
    assert pruning["fields"]["leave_enabled"] is True
    assert entry(document, "QuantizationModifier")["end_step"] is None
    assert entry(document, "SetLearningRateModifier")["fields"]["learning_rate"] == 1e-3
    assert entry(document, "EpochRangeModifier")["update_steps"] == []


def test_the_timeline_tells_all_that_is_in_force(document: dict[str, Any]) -> None:
    at = document["timeline"]
    assert at[0] == {
        "step": 0,
        "epoch": 0.0,
        "lr": [1e-3],
        "sparsity": {},
        "weight_decay": None,
        "quantization": {"quantization_modifiers[0]": "off"},
        "bn_frozen": False,
        "distillation": False,
    }
    assert at[12]["sparsity"] == {"pruning_modifiers[0]": pytest.approx(0.8 * (1 - 0.8**3))}
    assert at[45]["lr"] == [pytest.approx(5e-4)]
    assert [m["weight_decay"] for m in at if m["step"] in (19, 20, 59)] == [None, [0.01], [0.01]]
    phases = [at[step]["quantization"]["quantization_modifiers[0]"] for step in (39, 40, 49, 50, 59)]
    assert phases == ["off", "observing", "observing", "frozen", "frozen"]
    assert [at[step]["bn_frozen"] for step in (54, 55)] == [False, True]
    assert [at[step]["distillation"] for step in (9, 10, 49, 50)] == [False, True, True, False]


def test_each_param_group_has_its_own_values() -> None:
    text = recipe(
        "EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}",
        "SetLearningRateModifier {learning_rate: 0.1, param_groups: [0]}",
        "SetLearningRateModifier {learning_rate: 0.2, start_epoch: 1.0, param_groups: [2]}",
        "SetWeightDecayModifier {weight_decay: 0.5, param_groups: [1]}",
        "SetWeightDecayModifier {weight_decay: 0.25, start_epoch: 1.0}",
    )
    at = make_plan(load_recipe(text), 2).to_dict()["timeline"]
    assert at[0]["lr"] == [0.1, None, None]
    assert at[2]["lr"] == [0.1, None, 0.2]
    assert at[0]["weight_decay"] == [None, 0.5, None]
    assert at[2]["weight_decay"] == [0.25, 0.25, 0.25]


def test_several_targets_have_a_mean_and_paths_of_their_own() -> None:
    text = recipe(
        "GMPruningModifier {params: [], init_sparsity: 0.0, final_sparsity: {0.5: [a.weight], 0.9: [b.weight]}, "
        "start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.5}",
        "EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}",
    )
    last = make_plan(load_recipe(text), 4).to_dict()["timeline"][-1]["sparsity"]
    assert last == {
        "modifiers[0]": pytest.approx(0.7),
        "modifiers[0].final_sparsity[0.5]": 0.5,
        "modifiers[0].final_sparsity[0.9]": 0.9,
    }


def test_masks_that_are_not_left_enabled_are_gone_after_the_end() -> None:
    text = recipe(
        pruner(0.0, 1.0, "a.weight")[:-1] + ", leave_enabled: false}",
        "EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}",
    )
    sparsity = [m["sparsity"] for m in make_plan(load_recipe(text), 2).to_dict()["timeline"]]
    assert sparsity == [{"modifiers[0]": 0.0}, {"modifiers[0]": 0.4375}, {}, {}]


def test_a_model_on_no_device_is_enough_to_match() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    text = recipe(
        pruner(0.0, 1.0, "'re:.*weight'"),
        "QuantizationModifier {start_epoch: 1.0, ignore: ['2']}",
        "TrainableParamsModifier {params: [0.bias], trainable: false}",
        "EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}",
    )
    plan = make_plan(load_recipe(text), 2, model=model)
    assert plan.findings == []
    assert plan.to_dict()["matched"] == {
        "modifiers[0]": ["0.weight", "2.weight"],
        "modifiers[1]": ["0.weight"],
        "modifiers[2]": ["0.bias"],
    }
    assert all(p.is_meta for p in model.parameters())


def test_sampled_moments_hold_every_beginning_and_end() -> None:
    plan = make_plan(load_recipe(WHOLE), 1000)
    steps = {moment.step for moment in plan.sampled(20)}
    assert {0, 499, 500, 2999, 3000, 4000, 6000} <= steps
    assert len(steps) < 60
    assert plan.sampled(20)[-1].lr == [pytest.approx(0.0, abs=1e-6)]


def test_a_longer_run_is_planned_as_asked() -> None:
    plan = make_plan(load_recipe(WHOLE), 10, epochs=8)
    assert plan.steps == 80
    assert plan.findings == []


@pytest.mark.parametrize(("steps", "epochs"), [(0, None), (10, 0), (-1, 3)])
def test_lengths_below_one_are_refused(steps: int, epochs: int | None) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        make_plan(load_recipe(WHOLE), steps, epochs=epochs)


def test_a_length_that_nobody_trains_is_refused_at_once() -> None:
    endless = load_recipe(recipe("EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0e+12}"))
    with pytest.raises(InputError, match=r"too long to plan.*check end_epoch"):
        make_plan(endless, 100)
