"""Timelines and contradictions."""

from __future__ import annotations

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.plan import timeline
from tests.matrix.world import World

LINEAR = (
    "- !LearningRateFunctionModifier {{lr_func: linear, init_lr: 0.1, final_lr: 0.0, start_epoch: {0}, end_epoch: {1}}}"
)
GM = (
    "- !GMPruningModifier {{params: [{2}], init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: {0}, end_epoch: {1}, "
    "update_frequency: 0.5}}"
)


def recipe(*modifiers: str) -> str:
    return "modifiers:\n" + "".join(f"  {m}\n" for m in modifiers)


def messages(*modifiers: str) -> list[str]:
    world = World(recipe(*modifiers, "- !EpochRangeModifier {start_epoch: 0.0, end_epoch: 3.0}"))
    with pytest.raises(RecipeError) as caught:
        world.train(0, 1)
    return [str(p) for p in caught.value.problems]


def test_two_learning_rates_at_once_are_refused_at_their_place() -> None:
    (message,) = messages(LINEAR.format(0.0, 2.0), LINEAR.format(1.0, 3.0))
    assert "both set the learning rate at once" in message
    assert ":3:5: " in message


def test_learning_rates_one_after_the_other_are_fine() -> None:
    text = recipe(LINEAR.format(0.0, 1.0), LINEAR.format(1.0, 3.0))
    rates = [m.lr[0] for m in timeline(load_recipe(text).modifiers, 2)]
    assert rates == pytest.approx([0.1, 0.05, 0.1, 0.075, 0.05, 0.025])


def test_two_pruners_on_one_parameter_are_refused() -> None:
    (message,) = messages(GM.format(0.0, 2.0, "fc1.weight"), GM.format(1.0, 3.0, "'re:fc.*weight'"))
    assert "both prune fc1.weight" in message


def test_pruners_on_different_parameters_are_fine() -> None:
    text = recipe(GM.format(0.0, 2.0, "fc1.weight"), GM.format(1.0, 3.0, "fc2.weight"))
    assert World(text).train()["clock"]["step"] == 12


def test_two_that_only_hold_zeros_are_not_at_odds() -> None:
    hold = "- !ConstantPruningModifier {{params: [fc1.weight], start_epoch: {}}}"
    quantize = "- !QuantizationModifier {start_epoch: 1.0, disable_quantization_observer_epoch: 2.0}"
    assert World(recipe(hold.format(0.0), hold.format(1.0), quantize)).train(0, 6)["clock"]["step"] == 6
    assert "both prune fc1.weight" in messages(hold.format(0.0), GM.format(1.0, 2.0, "fc1.weight"))[0]


@pytest.mark.parametrize("frequency", ["0.5", "0", "-1"])
def test_pruning_after_quantization_froze_is_refused(frequency: str) -> None:
    (message,) = messages(
        GM.format(0.0, 3.0, "fc1.weight").replace("update_frequency: 0.5", f"update_frequency: {frequency}"),
        "- !QuantizationModifier {start_epoch: 1.0, disable_quantization_observer_epoch: 2.0}",
    )
    assert "after QuantizationModifier (modifiers[1]) froze its ranges at 2" in message


def test_the_timeline_holds_each_value_until_the_next_update() -> None:
    moments = timeline(load_recipe(recipe(GM.format(1.0, 2.0, "fc1.weight"))).modifiers, 4)
    held = [m.values.get("default/GMPruningModifier/0", {}).get("sparsity") for m in moments]
    assert held[:4] == [None] * 4
    assert held[4:6] == [0.0, 0.0]
    assert held[6] == held[7] == pytest.approx(0.4375)


def test_a_recipe_without_times_has_no_timeline() -> None:
    assert timeline(load_recipe(recipe("- !ConstantPruningModifier {params: [fc1.weight]}")).modifiers, 4) == []


SUM = "eval(0.1 + 0.2)"  # 0.30000000000000004: the step of epoch 0.3 all the same


@pytest.mark.parametrize(
    ("modifier", "name", "before", "after"),
    [
        (f"- !QuantizationModifier {{start_epoch: {SUM}}}", "quantization", None, 1.0),
        (
            f"- !QuantizationModifier {{start_epoch: 0.1, disable_quantization_observer_epoch: {SUM}}}",
            "quantization",
            1.0,
            2.0,
        ),
        (f"- !DistillationModifier {{start_epoch: {SUM}}}", "distillation_hardness", None, 0.5),
        (f"- !DistillationModifier {{end_epoch: {SUM}}}", "distillation_hardness", 0.5, None),
        (f"- !SetWeightDecayModifier {{start_epoch: {SUM}, weight_decay: 0.5}}", "weight_decay", None, 0.5),
        (
            f"- !GradualParamModifier {{params: x, init_val: 1, final_val: 2, start_epoch: {SUM}, end_epoch: 1,"
            " update_frequency: 0.5}",
            "param_value",
            None,
            1.0,
        ),
    ],
)
def test_times_that_are_sums_are_reached_at_their_step(
    modifier: str, name: str, before: float | None, after: float | None
) -> None:
    text = recipe(modifier, "- !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}")
    shown = [next(iter(m.values.values()), {}).get(name) for m in timeline(load_recipe(text).modifiers, 10)]
    assert shown[2] == before
    assert shown[3:5] == [after, after]
