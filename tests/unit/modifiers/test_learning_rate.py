from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sparsify.errors import RecipeError
from sparsify.modifiers.learning_rate import (
    LearningRateFunctionModifier,
    LearningRateModifier,
    SetLearningRateModifier,
)


def function(**fields: Any) -> LearningRateFunctionModifier:
    fields = {"lr_func": "linear", "init_lr": 1.0, "final_lr": 0.0, "start_epoch": 0.0, "end_epoch": 4.0} | fields
    return LearningRateFunctionModifier(**fields)


def schedule(lr_class: str, start_epoch: float = 0.0, end_epoch: float = -1.0, **kwargs: Any) -> LearningRateModifier:
    return LearningRateModifier(
        lr_class=lr_class,  # type: ignore[arg-type]
        lr_kwargs=kwargs,
        init_lr=0.1,
        start_epoch=start_epoch,
        end_epoch=end_epoch,
    )


def by_torch(make: Any, steps: int, lr: float = 0.1) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def rates(modifier: Any, steps: int, steps_per_epoch: int) -> list[float]:
    return [modifier.learning_rate(i / steps_per_epoch, steps_per_epoch) for i in range(steps)]


def test_set_holds_for_ever() -> None:
    assert rates(SetLearningRateModifier(learning_rate=1e-3), 30, 7) == [1e-3] * 30


class TestFunction:
    def test_linear_warm_up_from_zero(self) -> None:
        assert rates(function(init_lr=0.0, final_lr=0.5, end_epoch=1.0), 6, 4) == [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]

    def test_cosine_goes_up_and_down(self) -> None:
        down = rates(function(lr_func="cosine"), 5, 1)
        assert down == pytest.approx([1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0.0])
        up = rates(function(lr_func="cosine", init_lr=0.0, final_lr=1.0), 5, 1)
        assert up == pytest.approx([1.0 - rate for rate in down])

    def test_last_cycle_is_shortened_and_ends_on_the_final_rate(self) -> None:
        cyclic = function(lr_func="cyclic_linear", cycle_epochs=1.0, end_epoch=1.5)
        assert rates(cyclic, 8, 4) == pytest.approx([1, 2 / 3, 1 / 3, 0, 1, 0, 0, 0])

    def test_cycles_of_one_step(self) -> None:
        assert rates(function(lr_func="cyclic_linear", cycle_epochs=0.1), 8, 2) == [1.0] * 8

    def test_counts_from_its_stage(self) -> None:
        modifier = function()
        modifier.place("second/LearningRateFunctionModifier/0", 3.0)
        assert [modifier.learning_rate(e, 10) for e in (3.0, 5.0, 7.0, 9.0)] == [1.0, 0.5, 0.0, 0.0]

    @given(
        st.sampled_from(["linear", "cosine", "cyclic_linear"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.floats(0, 3),
        st.floats(0.1, 5),
        st.integers(1, 40),
    )
    def test_stays_between_its_bounds_and_holds_the_end(
        self, func: str, init: float, final: float, start: float, length: float, spe: int
    ) -> None:
        modifier = function(
            lr_func=func, init_lr=init, final_lr=final, start_epoch=start, end_epoch=start + length, cycle_epochs=0.7
        )
        found = rates(modifier, math.ceil((start + length) * spe) + 3, spe)
        assert all(min(init, final) - 1e-12 <= rate <= max(init, final) + 1e-12 for rate in found)
        assert found[-1] == found[-2] == found[-3]
        if func != "cyclic_linear":
            assert found[-1] == pytest.approx(final)


class TestSchedules:
    def test_step_is_torchs(self) -> None:
        wanted = by_torch(lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=15, gamma=0.5), 60)
        assert rates(schedule("StepLR", step_size=1.5, gamma=0.5), 60, 10) == pytest.approx(wanted)

    def test_exponential_falls_each_epoch(self) -> None:
        assert rates(schedule("ExponentialLR", gamma=0.5), 6, 2) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])

    def test_milestones_are_epochs_of_the_run(self) -> None:
        wanted = by_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 35], gamma=0.1), 60)
        assert rates(schedule("MultiStepLR", milestones=[2, 3.5], gamma=0.1), 60, 10) == pytest.approx(wanted)

    def test_restarts_are_torchs(self) -> None:
        wanted = by_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=14, eta_min=0.01), 60)
        found = rates(schedule("CosineAnnealingWarmRestarts", cycle_epochs=2, lr_min=0.01), 60, 7)
        assert found == pytest.approx(wanted)

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [("StepLR", {"step_size": 1, "gamma": 0.1}), ("CosineAnnealingWarmRestarts", {"cycle_epochs": 2})],
    )
    def test_holds_the_last_rate_it_trained_with(self, name: str, arguments: dict[str, Any]) -> None:
        found = rates(schedule(name, end_epoch=2.0, **arguments), 30, 10)
        assert found[20:] == [found[19]] * 10
        assert found[19] < 0.1

    def test_stage_moves_milestones(self) -> None:
        modifier = schedule("MultiStepLR", milestones=[1.0], gamma=0.1)
        modifier.place("second/LearningRateModifier/0", 2.0)
        assert [modifier.learning_rate(e, 10) for e in (2.0, 2.9, 3.0)] == pytest.approx([0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr_func": "quadratic"}, "linear"),
        ({"end_epoch": 0.0}, "must come after"),
        ({"start_epoch": 2.0, "end_epoch": 2.0}, "must come after"),
        ({"init_lr": -0.1}, "greater than or equal to 0"),
        ({"init_lr": "1e-4"}, "valid number"),
        ({"final_lr": float("nan")}, "finite"),
        ({"cycle_epochs": 0.0}, "greater than 0"),
        ({"warmup": 1}, "Extra inputs"),
    ],
)
def test_function_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        function(**fields)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("StepLR", {"step_sise": 1, "gamma": 0.1}, "did you mean step_size"),
        ("StepLR", {"gamma": 0.1}, "needs step_size"),
        ("StepLR", {"step_size": 0, "gamma": 0.1}, "step_size must be a number above 0, got 0"),
        ("ExponentialLR", {"gamma": "fast"}, "gamma must be"),
        ("MultiStepLR", {"milestones": 2, "gamma": 0.1}, "list of epochs"),
        ("MultiStepLR", {"milestones": [3, 2], "gamma": 0.1}, "must rise"),
        ("MultiStepLR", {"milestones": [2, 9], "gamma": 0.1, "end_epoch": 8.0}, "end_epoch 8"),
        ("CosineAnnealingWarmRestarts", {"cycle_epochs": 1, "lr_min": -1}, "lr_min must be a number of at least 0"),
        ("LinearLR", {}, "StepLR"),
    ],
)
def test_schedule_refuses(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        schedule(name, **arguments)


def test_set_refuses_zero_and_holds_past_an_end() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        SetLearningRateModifier(learning_rate=0.0)
    composed = SetLearningRateModifier(learning_rate=0.1, end_epoch=2.0)
    assert (composed.end, composed.last_epoch()) == (-1.0, 2.0)
    assert composed.learning_rate(3.0, 10) == 0.1


def test_unknown_param_group() -> None:
    run = SimpleNamespace(optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    with pytest.raises(RecipeError, match="optimizer has 1"):
        function(param_groups=[1]).on_attach(run)
    function(param_groups=[0]).on_attach(run)


@pytest.mark.parametrize("lr_func", ["linear", "cosine", "cyclic_linear"])
def test_a_stage_that_begins_at_its_end_leaves_no_time(lr_func: str) -> None:
    modifier = function(lr_func=lr_func, start_epoch=-1.0, end_epoch=2.0)
    modifier.place("second/LearningRateFunctionModifier/0", 0.0, begin=2.0)
    assert [modifier.learning_rate(epoch, 4) for epoch in (2.0, 2.5)] == [modifier.final_lr] * 2
