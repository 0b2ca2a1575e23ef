"""What a recipe does at which optimizer step, and what in it contradicts itself."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sparsify.clock import Clock
from sparsify.errors import Problem
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.modifiers.post_training import PostTrainingQuantizationModifier
from sparsify.phases import Phase, settle
from sparsify.rates import LearningRates
from sparsify.select import ALL, ALL_PRUNABLE


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in force during one optimizer step.

    Attributes:
        step: From 0; the number of steps of the run stands for what holds after it.
        epoch: ``step`` in epochs.
        lr: Learning rate of each param group; None where no modifier has set it.
        values: What each modifier holds (``sparsity``, ``quantization``, ...), by its key.
        weight_decay: As ``lr``.
        bn_frozen: Whether the statistics of batch norms stand still.
        distillation: Whether a teacher is listened to.
    """

    step: int
    epoch: float
    lr: list[float | None]
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    weight_decay: list[float | None] = field(default_factory=list)
    bn_frozen: bool = False
    distillation: bool = False


def epochs_of(modifiers: Sequence[Modifier]) -> int:
    """Epochs a run needs so that every time in the recipe is reached: the latest one, rounded up."""
    return math.ceil(max((m.last_epoch() for m in modifiers), default=0.0) - 1e-9)


def param_groups_of(modifiers: Sequence[Modifier]) -> int:
    """Param groups that the recipe tells apart: one, or as many as its indices need."""
    setters = [m for m in modifiers if m.kind in ("learning_rate", "training")]
    return 1 + max((i for m in setters for i in getattr(m, "param_groups", None) or ()), default=0)


def timeline(
    modifiers: Sequence[Modifier],
    steps_per_epoch: int,
    groups: int = 1,
    *,
    epochs: int | None = None,
    steps: Iterable[int] | None = None,
) -> list[Moment]:
    """Learning rate and values at every step of the run, by the code that the run itself uses.

    Args:
        modifiers: Placed modifiers.
        steps_per_epoch: Optimizer steps in one epoch.
        groups: Param groups of the optimizer.
        epochs: Length of the run; what the modifiers need by default.
        steps: Only these steps, of 0 to the length of the run (which stands for what holds after it).
    """
    total = (epochs_of(modifiers) if epochs is None else epochs) * steps_per_epoch
    course = _Course(modifiers, Clock(steps_per_epoch, total), groups)
    return [course.at(step) for step in (range(total) if steps is None else steps)]


class _Course:
    def __init__(self, modifiers: Sequence[Modifier], clock: Clock, groups: int) -> None:
        settle(modifiers, clock)
        self.clock, self.groups = clock, range(groups)
        self.rates = LearningRates(modifiers, clock)
        self.phases = [Phase(m, clock) for m in modifiers]
        self.held = [_Held(p, clock) for p in self.phases if p.modifier.kind != "learning_rate"]
        # Later ones overwrite earlier ones, as when each is written into the optimizer at its start.
        written = [h for h in self.held if h.phase.modifier.kind == "training"]
        self.decays = sorted(written, key=lambda h: (h.phase.start, h.phase.modifier.order))
        self.norms = [clock.step_of(f) for m in modifiers if (f := getattr(m, "norms_frozen_from", None)) is not None]

    def at(self, step: int) -> Moment:
        return Moment(
            step,
            self.clock.epoch_of(step),
            [self.rates.at(step, group) for group in self.groups],
            {held.phase.modifier.key: values for held in self.held if (values := held.at(step))},
            [self.weight_decay(step, group) for group in self.groups],
            any(step >= frozen for frozen in self.norms),
            any(phase.modifier.kind == "distillation" and phase.covers(step) for phase in self.phases),
        )

    def weight_decay(self, step: int, group: int) -> float | None:
        found = None
        for held in self.decays:
            if held.groups is None or group in held.groups:
                found = held.at(step).get("weight_decay", found)
        return found


class _Held:
    """Values of one modifier: those of its last update at or before a step."""

    def __init__(self, phase: Phase, clock: Clock) -> None:
        self.phase, self.clock = phase, clock
        self.updates = sorted(phase.updates)
        self.known: dict[int, dict[str, float]] = {}
        self.stays = bool(getattr(phase.modifier, "leave_enabled", True))
        self.groups: list[int] | None = getattr(phase.modifier, "param_groups", None)

    def at(self, step: int) -> dict[str, float]:
        count = bisect_right(self.updates, step)
        let_go = self.phase.end is not None and step >= self.phase.end and not self.stays
        if not count or let_go:
            return {}
        update = self.updates[count - 1]
        if update not in self.known:
            self.known[update] = self.phase.modifier.values(self.clock.epoch_of(update))
        return self.known[update]


def not_available(modifiers: Sequence[Modifier]) -> list[Problem]:
    """One problem for each modifier whose behaviour is not built yet, though it validates."""
    return [m.problem(f"not available yet: {m.unavailable}", m.instead) for m in modifiers if m.unavailable]


def conflicts(modifiers: Sequence[Modifier], parameters: Mapping[str, frozenset[str]]) -> list[Problem]:
    """Contradictions between modifiers.

    Args:
        modifiers: Placed modifiers.
        parameters: Parameter names by modifier key, for those that act on parameters; where a pruner has none, as
            without a model, what the recipe names parameters by is compared.

    Returns:
        One problem for each pair at odds: two learning rates or two pruners on the same parameter at one time, pruning
        that moves after quantization froze its ranges, or quantization while training and after it.
    """
    found = []
    for first, second in itertools.combinations(modifiers, 2):
        if {first.kind, second.kind} == {"pruning", "quantization"}:
            message = _pruned_when_frozen(*sorted((first, second), key=lambda m: m.kind))
        elif any(isinstance(m, PostTrainingQuantizationModifier) for m in (first, second)):
            message = _quantized_twice(first, second)
        elif _overlap(first, second):
            message = _clash(first, second, parameters)
        else:
            message = None
        if message:
            found.append(second.problem(message))
    return found


def _clash(first: Modifier, second: Modifier, parameters: Mapping[str, frozenset[str]]) -> str | None:
    if isinstance(first, LearningRateBase) and isinstance(second, LearningRateBase):
        at_once = min(first.end, second.end) >= 0 or first.start == second.start
        if at_once and share_groups(first, second):
            return f"{first.title} and {second.title} both set the learning rate at once"
    if first.kind == second.kind == "pruning" and (_moves(first) or _moves(second)):
        shared = sorted(_shared(first, second, parameters))
        if shared:
            return f"{first.title} and {second.title} both prune {shared[0]}" + (
                f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            )
    return None


def _moves(pruner: Modifier) -> bool:
    """Whether it makes zeros; two that only hold those that are there are not at odds, as in stages of a transfer."""
    return bool(getattr(pruner, "moves", True))


def share_groups(first: LearningRateBase, second: LearningRateBase) -> bool:
    """Whether there is a param group that both set the learning rate of."""
    mine, other = first.param_groups, second.param_groups
    return mine is None or other is None or bool(set(mine) & set(other))


def _shared(first: Modifier, second: Modifier, parameters: Mapping[str, frozenset[str]]) -> set[str]:
    """Parameters that both act on; without a model, selectors that cannot but meet."""
    if first.key in parameters and second.key in parameters:
        return set(parameters[first.key] & parameters[second.key])
    mine, other = (tuple(getattr(m, "selectors", ())) for m in (first, second))
    return {a for a in mine for b in other if _meet(a, b)} | {b for a in mine for b in other if _meet(b, a)}


def _meet(selector: str, other: str) -> bool:
    """Whether ``other`` selects, in any model, what ``selector`` does."""
    if other == selector or other.upper() == ALL:
        return True
    if selector.startswith("re:") or selector.upper() in (ALL, ALL_PRUNABLE) or not other.startswith("re:"):
        return False
    try:
        return re.match(other[3:], selector) is not None
    except re.error:
        return False


def _quantized_twice(first: Modifier, second: Modifier) -> str | None:
    both = first.kind == second.kind == "quantization"
    return f"{first.title} and {second.title} both quantize: keep one of them" if both else None


def _overlap(first: Modifier, second: Modifier) -> bool:
    def end(m: Modifier) -> float:
        return m.end if m.end >= 0 else math.inf

    return max(first.start, second.start) < min(end(first), end(second))


def _pruned_when_frozen(pruner: Modifier, quantizer: Modifier) -> str | None:
    frozen = getattr(quantizer, "frozen_from", None)
    if frozen is not None and 0 <= frozen < pruner.end and _moves(pruner):
        return f"{pruner.title} still prunes at epoch {pruner.end:g}, after {quantizer.title} froze its ranges at {frozen:g}"
    return None
