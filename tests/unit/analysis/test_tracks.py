"""Bars and curves of a plan."""

from __future__ import annotations

from sparsify.analysis.plan import Plan, make_plan
from sparsify.analysis.tracks import Bar, bars, rate_curves, sparsity_curves
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import WHOLE, pruner, rate, recipe


def plan(text: str, steps: int = 10) -> Plan:
    return make_plan(load_recipe(text), steps)


def test_a_bar_for_each_modifier() -> None:
    found = {bar.label: bar for bar in bars(plan(WHOLE))}
    assert list(found)[:3] == ["EpochRange", "SetLearningRate", "LearningRateFunction"]
    assert found["GMPruning"] == Bar("GMPruning", 5, 30, (5, 10, 15, 20, 25, 30))
    assert found["Quantization"] == Bar("Quantization", 40, 60, (40, 50, 55, 60), frozen=50)
    assert found["LearningRateFunction"] == Bar("LearningRateFunction", 30, 60)
    assert found["SetLearningRate"].end == 30, "the next learning rate takes over"


def test_modifiers_of_one_span_share_a_bar() -> None:
    text = recipe(*(pruner(0.0, 2.0, f"p{i}") for i in range(3)), pruner(0.0, 1.0, "q"), rate(0.0, 2.0))
    assert [bar.label for bar in bars(plan(text))] == ["GMPruning ×3", "GMPruning", "LearningRateFunction"]


def test_param_groups_that_differ_have_curves_of_their_own() -> None:
    text = recipe(
        rate(0.0, 2.0, param_groups=[0, 2]), "SetLearningRateModifier {learning_rate: 0.5, param_groups: [1]}"
    )
    made = plan(text, 2)
    curves = rate_curves(made, made.moments())
    assert [c.label for c in curves] == ["group 0 and 1 more", "group 1"]
    assert curves[1].values == (0.5,) * 4


def test_equal_targets_share_a_curve_and_groups_have_their_own() -> None:
    text = recipe(
        *(pruner(0.0, 2.0, f"p{i}") for i in range(3)),
        "GMPruningModifier {params: [], init_sparsity: 0.0, final_sparsity: {0.25: [a], 0.75: [b]}, start_epoch: 0.0, "
        "end_epoch: 1.0, update_frequency: 0.5}",
    )
    made = plan(text, 2)
    curves = sparsity_curves(made, made.moments())
    assert [c.label for c in curves] == [
        "modifiers[0] and 2 more",
        "modifiers[3].final_sparsity[0.25]",
        "modifiers[3].final_sparsity[0.75]",
    ]
    assert curves[1].values[-1] == 0.25


def test_one_curve_is_named_by_what_it_shows() -> None:
    made = plan(WHOLE)
    assert [c.label for c in rate_curves(made, made.moments())] == ["learning rate"]
    assert [c.label for c in sparsity_curves(made, made.moments())] == ["sparsity"]


def test_nothing_set_gives_no_curves() -> None:
    made = plan(recipe("EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}"))
    assert rate_curves(made, made.moments()) == sparsity_curves(made, made.moments()) == []
