"""Optimizer steps and epochs: the only clock a recipe is read by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

_SLACK = 1e-6  # of a step: 0.1 + 0.2 epochs must not start one step late
_TIME = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(%|steps?|epochs?)", re.ASCII)


@dataclass(slots=True)
class Clock:
    """Counts optimizer steps really taken.

    Attributes:
        steps_per_epoch: Optimizer steps in one epoch, on this rank, after gradient accumulation.
        total_steps: Optimizer steps of the whole run.
        step: Steps taken so far; during a step, its index from 0.
    """

    steps_per_epoch: int
    total_steps: int
    step: int = 0

    @property
    def epoch(self) -> float:
        """``step`` in epochs."""
        return self.step / self.steps_per_epoch

    def step_of(self, epoch: float) -> int:
        """First step whose epoch is at or after ``epoch`` (never below 0)."""
        return max(0, math.ceil(epoch * self.steps_per_epoch - _SLACK))

    def epoch_of(self, step: int) -> float:
        """``step`` in epochs."""
        return step / self.steps_per_epoch


def update_steps(clock: Clock, start: float, end: float, frequency: float) -> list[int]:
    """Steps at which something that runs from ``start`` to ``end`` is updated.

    It is updated at the start, then each time ``frequency`` epochs have passed since the last update, and at the
    end. The end always comes: one at or after the run's last step falls on ``clock.total_steps``, which is after
    the last step is taken.

    Args:
        clock: Gives steps per epoch and the length of the run.
        start: First epoch; below 0 means at once.
        end: Last epoch; below 0 means never.
        frequency: Epochs between updates; 0 or below means each step.

    Returns:
        Rising step indices.
    """
    first = clock.step_of(max(start, 0.0))
    last = clock.total_steps if end < 0 else min(clock.step_of(end), clock.total_steps)
    steps, step = [], first
    while step < last:
        steps.append(step)
        following = clock.step_of(clock.epoch_of(step) + frequency) if frequency > 0 else step + 1
        step = max(following, step + 1)
    if end >= 0:
        steps.append(max(last, first))
    return steps


@dataclass(frozen=True, slots=True)
class RelativeTime:
    """A time written as ``20%`` of the run or as ``500 steps``; how many epochs it is depends on the run."""

    amount: float
    unit: Literal["%", "steps"]

    def epochs(self, length: float, steps_per_epoch: int) -> float:
        """In epochs.

        Args:
            length: Epochs of the run (of the stage, in a recipe with stages).
            steps_per_epoch: Optimizer steps in one epoch.
        """
        return self.amount / 100.0 * length if self.unit == "%" else self.amount / steps_per_epoch

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.unit == "%" else f"{self.amount:g} steps"


def parse_time(text: str) -> float | RelativeTime | None:
    """A time in words: ``20%``, ``500 steps``, ``2 epochs``; None if ``text`` is none.

    Raises:
        ValueError: It is one that cannot be: over 100%, or a part of a step.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    amount, unit = float(match[1]), match[2]
    if unit.startswith("epoch"):
        return amount
    if unit == "%" and amount > 100:
        raise ValueError(f"{text.strip()} is more than the whole run: at most 100%")
    if unit != "%" and not amount.is_integer():
        raise ValueError(f"a step is not divided: a whole number of steps, not {text.strip()}")
    return RelativeTime(amount, "%" if unit == "%" else "steps")
