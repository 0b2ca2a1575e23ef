"""What a recipe does at which optimizer step, and what in it contradicts itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparsify.clock import Clock
from sparsify.errors import Problem
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.run import LearningRates


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in force during one optimizer step."""

    step: int
    epoch: float
    lr: list[float | None]
    values: dict[str, dict[str, float]] = field(default_factory=dict)


def epochs_of(modifiers: Sequence[Modifier]) -> int:
    """Epochs a run needs so that every time in the recipe is reached: the latest one, rounded up."""
    return math.ceil(max((m.last_epoch() for m in modifiers), default=0.0) - 1e-9)


def timeline(modifiers: Sequence[Modifier], steps_per_epoch: int, groups: int = 1) -> list[Moment]:
    """Learning rate and values at every step of the run, by the code that the run itself uses."""
    clock = Clock(steps_per_epoch, epochs_of(modifiers) * steps_per_epoch)
    rates = LearningRates(modifiers, clock)
    targets = {m.key: _held(m, clock) for m in modifiers if m.kind != "learning_rate"}
    return [
        Moment(
            step,
            clock.epoch_of(step),
            [rates.at(step, group) for group in range(groups)],
            {key: values[step] for key, values in targets.items() if values[step]},
        )
        for step in range(clock.total_steps)
    ]


def _held(modifier: Modifier, clock: Clock) -> list[dict[str, float]]:
    """Values per step: those of the last update at or before the step."""
    updates = set(modifier.update_steps(clock))
    held: dict[str, float] = {}
    values = []
    for step in range(clock.total_steps):
        if step in updates:
            held = modifier.values(clock.epoch_of(step))
        values.append(held)
    return values


def conflicts(modifiers: Sequence[Modifier], parameters: Mapping[str, frozenset[str]]) -> list[Problem]:
    """Contradictions between modifiers.

    Args:
        modifiers: Placed modifiers.
        parameters: Parameter names by modifier key, for those that act on parameters.

    Returns:
        One problem for each pair at odds: two learning rates or two pruners on the same parameter at one time, or
        pruning that moves after quantization froze its ranges.
    """
    found = []
    for first, second in itertools.combinations(modifiers, 2):
        if {first.kind, second.kind} == {"pruning", "quantization"}:
            message = _pruned_when_frozen(*sorted((first, second), key=lambda m: m.kind))
        elif _overlap(first, second):
            message = _clash(first, second, parameters)
        else:
            message = None
        if message:
            found.append(second.problem(message))
    return found


def _clash(first: Modifier, second: Modifier, parameters: Mapping[str, frozenset[str]]) -> str | None:
    if isinstance(first, LearningRateBase) and isinstance(second, LearningRateBase):
        mine, other = first.param_groups, second.param_groups
        if (mine is None or other is None or set(mine) & set(other)) and min(first.end, second.end) >= 0:
            return f"{first.key} and {second.key} both set the learning rate at once"
    if first.kind == second.kind == "pruning":
        shared = sorted(parameters.get(first.key, frozenset()) & parameters.get(second.key, frozenset()))
        if shared:
            return f"{first.key} and {second.key} both prune {shared[0]}" + (
                f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            )
    return None


def _overlap(first: Modifier, second: Modifier) -> bool:
    def end(m: Modifier) -> float:
        return m.end if m.end >= 0 else math.inf

    return max(first.start, second.start) < min(end(first), end(second))


def _pruned_when_frozen(pruner: Modifier, quantizer: Modifier) -> str | None:
    frozen = getattr(quantizer, "frozen_from", None)
    if frozen is not None and 0 <= frozen < pruner.end and pruner.update_frequency != 0:
        return (
            f"{pruner.key} still prunes at epoch {pruner.end:g}, after {quantizer.key} froze its ranges at {frozen:g}"
        )
    return None
