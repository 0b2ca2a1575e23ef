"""Times as ``20%`` of the run or ``500 steps``: settled when the run is known, validated where they are written."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers.base import Modifier
from sparsify.phases import settle
from sparsify.plan import timeline

PRUNING = """\
warm: 20%
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 10.0}
  - !MagnitudePruningModifier
    params: [weight]
    init_sparsity: 0.0
    final_sparsity: 0.5
    start_epoch: eval(warm)
    end_epoch: 700 steps
    update_frequency: 5%
"""


def made(text: str, steps_per_epoch: int = 100, epochs: int = 10) -> list[Modifier]:
    manager = load_recipe(text)
    settle(manager.modifiers, Clock(steps_per_epoch, steps_per_epoch * epochs))
    return manager.modifiers


def one(fields: str, **run: Any) -> Modifier:
    text = f"modifiers:\n  - !EpochRangeModifier {{start_epoch: 0.0, end_epoch: 10.0}}\n  - {fields}\n"
    return made(text, **run)[-1]


def refused(text: str, steps_per_epoch: int, epochs: int) -> list[tuple[int | None, int | None, str]]:
    manager = load_recipe(text)
    with pytest.raises(RecipeError) as caught:
        settle(manager.modifiers, Clock(steps_per_epoch, steps_per_epoch * epochs))
    return [(p.line, p.column, p.message) for p in caught.value.problems]


def test_a_share_of_the_run_and_a_number_of_steps_become_epochs() -> None:
    pruner = made(PRUNING)[1]
    assert (pruner.start, pruner.end, pruner.update_frequency) == (2.0, 7.0, 0.5)
    assert pruner.values(7.0) == {"sparsity": 0.5}


def test_the_same_recipe_in_runs_of_other_lengths() -> None:
    manager = load_recipe(PRUNING)
    pruner = manager.modifiers[1]
    for steps_per_epoch, epochs, expected in [(100, 10, (2.0, 7.0)), (50, 20, (4.0, 14.0)), (100, 10, (2.0, 7.0))]:
        settle(manager.modifiers, Clock(steps_per_epoch, steps_per_epoch * epochs))
        assert (pruner.start, pruner.end) == expected


def test_relative_times_do_not_say_how_long_the_run_is() -> None:
    manager = load_recipe(PRUNING)
    assert manager.max_epochs == 10
    alone = load_recipe("modifiers:\n  - !DistillationModifier {start_epoch: 20%, end_epoch: 500 steps}\n")
    assert alone.max_epochs == 0
    assert not alone.modifiers[0].settled


def test_a_recipe_in_epochs_is_settled_at_once() -> None:
    assert all(
        m.settled
        for m in load_recipe(
            PRUNING.replace("20%", "2 epochs").replace("700 steps", "7").replace("5%", "0.5")
        ).modifiers
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("!LearningRateFunctionModifier {lr_func: linear, init_lr: 1.0, final_lr: 0.0, start_epoch: 50%, end_epoch: 100%}", {"start_epoch": 5.0, "end_epoch": 10.0}),
        ("!LearningRateFunctionModifier {lr_func: cyclic_linear, init_lr: 1.0, final_lr: 0.0, start_epoch: 0, end_epoch: 100%, cycle_epochs: 150 steps}", {"cycle_epochs": 1.5}),
        ("!LearningRateModifier {lr_class: MultiStepLR, lr_kwargs: {milestones: [10%, 300 steps, 4.5], gamma: 0.1}, init_lr: 1.0}", {"lr_kwargs": {"milestones": [1.0, 3.0, 4.5], "gamma": 0.1}}),
        ("!LearningRateModifier {lr_class: StepLR, lr_kwargs: {step_size: 25%, gamma: 0.5}, init_lr: 1.0}", {"lr_kwargs": {"step_size": 2.5, "gamma": 0.5}}),
        ("!QuantizationModifier {start_epoch: 90%, disable_quantization_observer_epoch: 950 steps}", {"start_epoch": 9.0, "disable_quantization_observer_epoch": 9.5}),
        ("!ACDCPruningModifier {compression_sparsity: 0.5, start_epoch: 0, end_epoch: 80%, update_frequency: 20%}", {"end_epoch": 8.0, "update_frequency": 2.0}),
        ("!DistillationModifier {start_epoch: -1, end_epoch: 1 step}", {"start_epoch": -1.0, "end_epoch": 0.01}),
    ],
)  # fmt: skip
def test_every_time_field_takes_them(fields: str, expected: dict[str, Any]) -> None:
    modifier = one(fields)
    assert {name: getattr(modifier, name) for name in expected} == expected


def test_rules_over_several_fields_hold_in_the_run_and_are_placed_at_the_time() -> None:
    text = PRUNING.replace("end_epoch: 700 steps", "end_epoch: 150 steps")
    ((line, column, message),) = refused(text, 100, 10)
    assert (line, column) == (9, 16)
    assert "end_epoch 1.5 is before start_epoch 2" in message
    assert "(start_epoch is 20%, end_epoch is 150 steps, update_frequency is 5%)" in message


def test_a_step_after_the_end_of_the_run_is_an_error_at_its_place() -> None:
    ((line, column, message),) = refused(PRUNING, 10, 10)
    assert (line, column) == (9, 16)
    assert "end_epoch: 700 steps is after the end of the run, which has 100 left there" in message


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("120%", "120% is more than the whole run"),
        ("2.5 steps", "a step is not divided"),
        ("-3 steps", "valid number"),
        ("20 %%", "valid number"),
        ("soon", "valid number"),
    ],
)
def test_what_is_no_time_is_an_error_at_its_place(time: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(f"modifiers:\n  - !DistillationModifier\n    start_epoch: {time}\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (3, 18, "modifiers[0].start_epoch")
    assert told in problem.message


def test_what_no_run_can_mend_is_an_error_at_once() -> None:
    with pytest.raises(RecipeError, match="is before start_epoch"):
        load_recipe("modifiers:\n  - !DistillationModifier {start_epoch: 20 steps, end_epoch: 10 steps}\n")
    with pytest.raises(RecipeError, match="is before start_epoch"):
        load_recipe("modifiers:\n  - !DistillationModifier {start_epoch: 60%, end_epoch: 40%}\n")


STAGED = """\
a:
  modifiers:
    - !EpochRangeModifier {{start_epoch: 0.0, end_epoch: 4.0}}
    - !DistillationModifier {{start_epoch: 50%, end_epoch: 300 steps}}
b:
  modifiers:
    - !EpochRangeModifier {{start_epoch: {0}, end_epoch: {1}}}
    - !DistillationModifier {{start_epoch: 25%, end_epoch: {2} steps}}
"""


@pytest.mark.parametrize("numbers", [("0.0", "4.0", "200"), ("4.0", "8.0", "600")])
def test_in_stages_a_share_is_one_of_the_stage_and_steps_count_as_its_epochs_do(numbers: tuple[str, ...]) -> None:
    modifiers = made(STAGED.format(*numbers), epochs=8)
    assert [(m.start, m.end) for m in modifiers if m.kind == "distillation"] == [(2.0, 3.0), (5.0, 6.0)]


def test_a_run_settles_them_and_the_plan_shows_the_same() -> None:
    text = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}\n"
    text += "  - !LearningRateFunctionModifier {lr_func: linear, init_lr: 1.0, final_lr: 0.0, start_epoch: 10 steps, end_epoch: 100%}\n"
    manager: ModifierManager = load_recipe(text)
    planned = [moment.lr[0] for moment in timeline(load_recipe(text).modifiers, 10)]
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    found: list[float] = []
    with manager.attach(model, optimizer, steps_per_epoch=10) as run:
        for _ in range(20):
            run.begin_step()
            found.append(optimizer.param_groups[0]["lr"])
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    assert found == [0.5] * 10 + planned[10:]
    assert planned[10] == 1.0


def test_in_one_shot_only_their_order_matters() -> None:
    model = nn.Linear(8, 8)
    load_recipe(PRUNING).apply(model)
    assert float((model.weight == 0).float().mean()) == 0.5


def test_a_pickled_modifier_settles_like_the_first() -> None:
    pruner = load_recipe(PRUNING).modifiers[1]
    again = pickle.loads(pickle.dumps(pruner))
    for modifier in (pruner, again):
        modifier.settle(Clock(100, 1000))
    assert (again.start, again.end, again.update_frequency) == (pruner.start, pruner.end, pruner.update_frequency)
    late = pickle.loads(pickle.dumps(load_recipe(PRUNING).modifiers[1]))
    with pytest.raises(RecipeError, match="after the end of the run") as caught:
        late.settle(Clock(10, 100))
    assert caught.value.line == 9
