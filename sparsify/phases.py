"""Where each modifier of a recipe stands in a run: computed from the clock alone, nothing of it accumulated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sparsify.clock import Clock
from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Modifier


class Phase:
    """Where one modifier stands: when it starts, is updated and ends, and what of that has happened."""

    def __init__(self, modifier: Modifier, clock: Clock) -> None:
        self.modifier = modifier
        self.start = clock.step_of(modifier.start)
        self.end = None if modifier.end < 0 else min(clock.step_of(modifier.end), clock.total_steps)
        self.updates = frozenset(modifier.update_steps(clock))
        self.started = self.ended = False

    @property
    def active(self) -> bool:
        """Started and not ended."""
        return self.started and not self.ended

    def covers(self, step: int) -> bool:
        """Whether it is active during ``step``, also before that step's events have fired."""
        return self.start <= step and (self.end is None or step < self.end)

    def ends_by(self, step: int) -> bool:
        """Whether its end is at or before ``step``."""
        return self.end is not None and step >= self.end

    def due_after(self, step: int) -> bool:
        """Whether it is active and has an update later than ``step``."""
        return self.active and any(update > step for update in self.updates)


def fingerprint(modifier: Modifier) -> str:
    """Hash of a modifier's class and resolved fields: state of one recipe must not be loaded into another."""
    text = f"{type(modifier).__name__}{modifier.model_dump_json()}{modifier.start}{modifier.end}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settle(modifiers: Sequence[Modifier], clock: Clock) -> None:
    """Turn times that depend on the run (``20%``, ``500 steps``) into epochs; needed before anything is planned.

    Raises:
        RecipeError: With every time that does not fit the run, where it is written.
    """
    problems: list[Problem] = []
    for modifier in modifiers:
        try:
            modifier.settle(clock)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
