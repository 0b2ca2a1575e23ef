"""What plans find: contradictions that a run refuses, and doubts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sparsify.analysis.findings import Finding
from sparsify.analysis.plan import make_plan
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import pruner, rate, recipe

RANGE = "EpochRangeModifier {start_epoch: 0.0, end_epoch: 3.0}"


def found(*modifiers: str, epochs: int | None = None, model: nn.Module | None = None) -> list[Finding]:
    return make_plan(load_recipe(recipe(*modifiers, RANGE)), 4, epochs=epochs, model=model).findings


def only(*modifiers: str, epochs: int | None = None, model: nn.Module | None = None) -> tuple[bool, str, int | None]:
    (finding,) = found(*modifiers, epochs=epochs, model=model)
    return finding.refused, finding.problem.message, finding.problem.line


def test_two_learning_rates_at_once() -> None:
    refused, message, line = only(rate(0.0, 2.0), rate(1.0, 3.0))
    assert (refused, line) == (True, 3)
    assert "both set the learning rate at once" in message


def test_two_learning_rates_from_the_same_epoch_on() -> None:
    refused, message, _ = only("SetLearningRateModifier {learning_rate: 0.1}", rate(0.0, 2.0))
    assert refused
    assert "both set the learning rate at once" in message


def test_a_learning_rate_that_cuts_a_schedule_short_is_a_doubt() -> None:
    refused, message, line = only(rate(0.0, 3.0), "SetLearningRateModifier {learning_rate: 0.1, start_epoch: 2.0}")
    assert (refused, line) == (False, 3)
    assert (
        "takes the learning rate over at epoch 2, before LearningRateFunctionModifier (modifiers[0]) ends at 3"
        in message
    )


def test_learning_rates_of_different_groups_or_in_turn_are_fine() -> None:
    assert not found(rate(0.0, 2.0, param_groups=[0]), rate(0.0, 2.0, param_groups=[1]))
    assert not found("SetLearningRateModifier {learning_rate: 0.1}", rate(1.0, 2.0), rate(2.0, 3.0))


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("a.weight", "a.weight", "a.weight"),
        ("a.weight", "'re:a.*'", "a.weight"),
        ("'re:a.*'", "b, a.weight", "a.weight"),
        ("'re:a.*'", "'re:a.*'", "re:a.*"),
        ("__ALL__", "'re:a.*'", "re:a.*"),
        ("", "__all__", "__ALL_PRUNABLE__"),
    ],
)
def test_two_pruners_on_one_parameter_without_a_model(first: str, second: str, shared: str) -> None:
    refused, message, _ = only(pruner(0.0, 2.0, first), pruner(1.0, 3.0, second))
    assert refused
    assert f"both prune {shared}" in message


@pytest.mark.parametrize(("first", "second"), [("a.weight", "b.weight"), ("a.weight", "'re:b'"), ("'re:a'", "'re:b'")])
def test_pruners_that_may_be_apart_are_not_accused_without_a_model(first: str, second: str) -> None:
    assert not found(pruner(0.0, 2.0, first), pruner(1.0, 3.0, second))


def test_structures_of_two_kinds_are_not_accused_without_a_model() -> None:
    span = "init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 2.0"
    groups = "param_groups: [[a.weight, b.weight]]"
    assert not found(
        f"StructuredPruningModifier {{mask_type: heads, {span}}}",
        f"StructuredPruningModifier {{mask_type: filter, {groups}, {span}}}",
    )


def test_two_pruners_on_one_parameter_of_a_model() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    refused, message, _ = only(pruner(0.0, 2.0, "'re:.*weight'"), pruner(1.0, 3.0, "'re:[01].w'"), model=model)
    assert refused
    assert "both prune 0.weight and 1 more" in message


def test_pruning_after_quantization_froze() -> None:
    quantized = "QuantizationModifier {start_epoch: 0.0, disable_quantization_observer_epoch: 1.0}"
    refused, message, _ = only(quantized, pruner(0.0, 2.0, "a.weight"))
    assert refused
    assert "still prunes at epoch 2, after QuantizationModifier (modifiers[0]) froze its ranges at 1" in message


def test_an_end_after_the_end_that_the_recipe_states() -> None:
    refused, message, line = only(pruner(0.0, 5.0, "a.weight"))
    assert (refused, line) == (False, 2)
    assert "goes on to epoch 5, after the end of the run at 3" in message


def test_an_end_after_the_end_that_was_asked_for() -> None:
    pruning, run = found(pruner(0.0, 2.0, "a.weight"), epochs=1)
    assert pruning.refused
    assert "goes on to epoch 2, after the end of the run at 1" in pruning.problem.message
    assert "EpochRangeModifier goes on to epoch 3" in run.problem.message


def test_an_update_interval_longer_than_its_span() -> None:
    refused, message, line = only(pruner(0.5, 1.5, "a.weight", frequency=2.0))
    assert (refused, line) == (False, 2)
    assert "is updated every 2 epochs but lasts only 1" in message


def test_an_interval_as_long_as_its_span_and_one_shot_are_fine() -> None:
    assert not found(pruner(0.5, 1.5, "a.weight", frequency=1.0))
    assert not found(pruner(0.0, 0.0, "a.weight", frequency=2.0))
    assert not found(
        "ConstantPruningModifier {params: [a.weight], start_epoch: 0.0, end_epoch: 1.0, update_frequency: 2.0}"
    )


def test_a_modifier_that_matches_nothing() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4))
    refused, message, line = only(pruner(0.0, 2.0, "1.weight"), model=model)
    assert (refused, line) == (True, 2)
    assert message == "no parameter of the model matches '1.weight'"
    refused, message, _ = only("QuantizationModifier {start_epoch: 1.0, submodules: [encoder]}", model=model)
    assert refused
    assert "encoder" in message


def test_findings_as_json() -> None:
    (finding,) = found(pruner(0.0, 5.0, "a.weight"))
    document = finding.to_dict()
    assert document["severity"] == "warning"
    assert {"message", "file", "line", "column", "path", "hint"} < set(document)


def test_packaged_recipes_have_no_findings() -> None:
    root = Path(__file__).resolve().parents[3] / "recipes"
    recipes = sorted(root.rglob("recipe.yaml"))
    assert recipes
    for path in recipes:
        assert make_plan(load_recipe(path), 20).findings == [], path
