"""What is wrong or doubtful about a recipe's schedule, beyond what makes it invalid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from sparsify.clock import Clock
from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.plan import conflicts, not_available, share_groups

_SLACK = 1e-6  # epochs


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found; ``refused`` where a run with this recipe would not start."""

    problem: Problem
    refused: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the problem's parts and a ``severity``, error or warning."""
        return {"severity": "error" if self.refused else "warning", **asdict(self.problem)}


def matched_parameters(
    modifiers: Sequence[Modifier], model: nn.Module
) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Names of the parameters that each modifier acts on, by its key, and why some match nothing."""
    found: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for modifier in modifiers:
        try:
            names = modifier.matched(model)
        except RecipeError as error:
            problems += modifier.located(error).problems
            continue
        if names:
            found[modifier.key] = names
    return found, problems


def findings(
    modifiers: Sequence[Modifier],
    clock: Clock,
    matched: Mapping[str, Sequence[str]] | None = None,
    unmatched: Sequence[Problem] = (),
    epochs: float | None = None,
) -> list[Finding]:
    """All findings, those that are refused first.

    Args:
        modifiers: Placed modifiers.
        clock: Steps per epoch and length of the run.
        matched: Parameters by modifier key, where a model is known.
        unmatched: Why modifiers match nothing in it.
        epochs: Length that was asked for; the recipe's own by default.
    """
    parameters = {key: frozenset(names) for key, names in (matched or {}).items()}
    refused = [*not_available(modifiers), *conflicts(modifiers, parameters), *unmatched]
    late = list(_after_the_end(modifiers, epochs))
    doubtful = [*_too_rare(modifiers, clock), *_taken_over(modifiers)]
    if epochs is None:
        doubtful = late + doubtful
    else:
        refused += late
    return [Finding(p, True) for p in refused] + [Finding(p, False) for p in doubtful]


def _after_the_end(modifiers: Sequence[Modifier], epochs: float | None) -> Iterator[Problem]:
    """Times after the end of the run as it was asked for, or as the recipe states it."""
    ranges = [m.end for m in modifiers if type(m).__name__ == "EpochRangeModifier" and m.end >= 0]
    stated = epochs if epochs is not None else max(ranges, default=None)
    if stated is None:
        return
    longer = "train longer, or change the recipe"
    hint = (
        longer if epochs is not None else "the run becomes longer than EpochRangeModifier says: change one of the two"
    )
    for modifier in modifiers:
        last = modifier.last_epoch()
        if last > stated + _SLACK:
            yield modifier.problem(
                f"{type(modifier).__name__} goes on to epoch {last:g}, after the end of the run at {stated:g}", hint
            )


def _too_rare(modifiers: Sequence[Modifier], clock: Clock) -> Iterator[Problem]:
    """Update intervals that are longer than the time there is for updates."""
    for modifier in modifiers:
        span = modifier.end - modifier.start
        updated = type(modifier).on_update is not Modifier.on_update
        if updated and modifier.end >= 0 and span > _SLACK and modifier.update_frequency > span + _SLACK:
            steps = sorted(modifier.update_steps(clock))
            yield modifier.problem(
                f"{type(modifier).__name__} is updated every {modifier.update_frequency:g} epochs but lasts only {span:g}",
                f"it moves at its start and end only (steps {', '.join(map(str, steps))}): lower update_frequency",
            )


def _taken_over(modifiers: Sequence[Modifier]) -> Iterator[Problem]:
    """Learning rate schedules that a later modifier ends before their time."""
    rates = [m for m in modifiers if isinstance(m, LearningRateBase)]
    for first, second in itertools.permutations(rates, 2):
        inside = first.start < second.start < first.end and second.end < 0
        if inside and share_groups(first, second):
            yield second.problem(
                f"{second.title} takes the learning rate over at epoch {second.start:g}, "
                f"before {first.title} ends at {first.end:g}",
                "the rest of that schedule is not used: end it there, or begin this one later",
            )
