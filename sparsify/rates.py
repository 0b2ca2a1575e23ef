"""A recipe's learning rates: functions of the step, written into an optimizer, and held against what others write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sparsify.clock import Clock
from sparsify.errors import InputError
from sparsify.modifiers.base import LearningRateBase, Modifier

OVERRULED = ("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps")
"""Training arguments of transformers that mean nothing beside a recipe's rates, whatever their values."""


class LearningRates:
    """All learning-rate modifiers of a recipe as one function of the step; it holds no state."""

    def __init__(self, modifiers: Sequence[Modifier], clock: Clock) -> None:
        found = [m for m in modifiers if isinstance(m, LearningRateBase)]
        self._clock = clock
        self._by_start = sorted(found, key=lambda m: m.start)

    def __bool__(self) -> bool:
        return bool(self._by_start)

    def at(self, step: int, group: int) -> float | None:
        """Rate in force during optimizer step ``step`` for a parameter group; None before any modifier sets it."""
        rate = None
        epoch = self._clock.epoch_of(step)
        for modifier in self._by_start:
            mine = modifier.param_groups is None or group in modifier.param_groups
            if mine and step >= self._clock.step_of(modifier.start):
                rate = modifier.learning_rate(epoch, self._clock.steps_per_epoch)
        return rate


def set_rate(group: dict[str, Any], rate: float) -> float:
    """Give a param group its learning rate, in place where that is a tensor; returns it as it is held."""
    if isinstance(group["lr"], Tensor):  # captured graphs and compiled steps read this very tensor
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
    return float(group["lr"])


def check_rates(groups: Sequence[Mapping[str, Any]], written: Sequence[float | None], resumed: bool = False) -> None:
    """Refuse a rate that somebody else changed; one that the recipe did not set is free, as that of a new group.

    Args:
        groups: The optimizer's param groups.
        written: What the recipe wrote last, by group; None where it wrote nothing.
        resumed: Whether it was written by the run that this one goes on from.

    Raises:
        InputError: Says which rate, and what to do.
    """
    for index, (group, mine) in enumerate(zip(groups, written, strict=False)):
        now = float(group["lr"])
        if mine is None or now == mine:
            continue
        if resumed:
            raise InputError(
                f"the learning rate of param group {index} is {now:g}, and was {mine:g} in the saved run: load the "
                "optimizer's state, too (optimizer.load_state_dict), and if a scheduler of yours sets the rate, remove it"
            )
        raise InputError(
            f"the learning rate of param group {index} was changed from {mine:g} to {now:g} "
            "outside the recipe, which sets it: remove your scheduler, or the recipe's learning-rate modifiers"
        )
