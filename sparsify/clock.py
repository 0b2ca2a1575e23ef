"""Optimizer steps and epochs: the only clock a recipe is read by."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SLACK = 1e-6  # of a step: 0.1 + 0.2 epochs must not start one step late


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
