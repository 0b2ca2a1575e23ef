"""What a plan looks like: a bar for each modifier and curves over the steps, for terminals and figures alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsify.analysis.plan import Plan, moves, sparsity_of
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.phases import Phase
from sparsify.plan import Moment, share_groups


@dataclass(frozen=True)
class Bar:
    """When modifiers of one kind and span are active, in steps.

    Attributes:
        label: Their name and number.
        start: First step.
        end: Step at which they end; the end of the run for those that never do.
        updates: Steps at which they move; none where they move at each step or never.
        frozen: Step from which quantization ranges stand still.
        available: Whether they are built yet.
    """

    label: str
    start: int
    end: int
    updates: tuple[int, ...] = ()
    frozen: int | None = None
    available: bool = True


@dataclass(frozen=True)
class Curve:
    """A value over the steps, each held until the next; None where it is not set."""

    label: str
    steps: tuple[int, ...]
    values: tuple[float | None, ...]


def bars(plan: Plan) -> list[Bar]:
    """One bar for each modifier, in file order; modifiers of one class, span and rhythm share theirs."""
    found: dict[Bar, int] = {}
    for phase in plan.phases:
        bar = _bar(plan, phase)
        found[bar] = found.get(bar, 0) + 1
    return [_counted(bar, count) for bar, count in found.items()]


def _bar(plan: Plan, phase: Phase) -> Bar:
    modifier = phase.modifier
    end = _taken_over(plan, phase) if phase.end is None else phase.end
    updates = tuple(sorted(phase.updates)) if moves(modifier) else ()
    each_step = len(updates) > 2 and updates[-1] - updates[0] <= len(updates)
    return Bar(
        short_name(type(modifier)),
        min(phase.start, plan.steps),
        end,
        () if each_step else tuple(step for step in updates if phase.start <= step <= end),
        _frozen(plan, modifier),
        not modifier.unavailable,
    )


def _taken_over(plan: Plan, phase: Phase) -> int:
    """Where something without an end gives way: a learning rate at the next one, all else at the end of the run."""
    mine = phase.modifier
    later = [
        other.start
        for other in plan.phases
        if isinstance(mine, LearningRateBase)
        and isinstance(other.modifier, LearningRateBase)
        and other.start > phase.start
        and share_groups(mine, other.modifier)
    ]
    return min([plan.steps, *later])


def _frozen(plan: Plan, modifier: Modifier) -> int | None:
    epoch = getattr(modifier, "frozen_from", None)
    return None if epoch is None else min(round(epoch * plan.steps_per_epoch), plan.steps)


def _counted(bar: Bar, count: int) -> Bar:
    label = bar.label if count == 1 else f"{bar.label} ×{count}"
    return Bar(label, bar.start, bar.end, bar.updates, bar.frozen, bar.available)


def short_name(cls: type[Modifier]) -> str:
    """A modifier's name without what all of them end in."""
    return cls.__name__.removesuffix("Modifier")


def rate_curves(plan: Plan, moments: Sequence[Moment]) -> list[Curve]:
    """Learning rate of each param group; groups that agree share a curve."""
    rows = [tuple(moment.lr[group] for moment in moments) for group in range(plan.groups)]
    shared = _merged({f"group {group}": row for group, row in enumerate(rows)})
    one = len(shared) == 1
    return _curves({"learning rate" if one else name: row for name, row in shared.items()}, moments)


def sparsity_curves(plan: Plan, moments: Sequence[Moment]) -> list[Curve]:
    """Sparsity target of each pruner, or of each of its groups; equal ones share a curve."""
    paths = {m.key: m.path for m in plan.modifiers}
    by_moment = [sparsity_of(moment, paths) for moment in moments]
    names = dict.fromkeys(name for found in by_moment for name in found)
    split = {name.split(".final_sparsity[")[0] for name in names if ".final_sparsity[" in name}
    rows = {n: tuple(found.get(n) for found in by_moment) for n in names if n not in split}
    shared = _merged(rows)
    one = len(shared) == 1
    return _curves({"sparsity" if one else name: row for name, row in shared.items()}, moments)


def _merged(rows: dict[str, tuple[float | None, ...]]) -> dict[str, tuple[float | None, ...]]:
    """Rows with a value, each once, under the names of all that are equal to it."""
    owners: dict[tuple[float | None, ...], list[str]] = {}
    for name, row in rows.items():
        if any(value is not None for value in row):
            owners.setdefault(row, []).append(name)
    return {_listed(names): row for row, names in owners.items()}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _curves(rows: dict[str, tuple[float | None, ...]], moments: Sequence[Moment]) -> list[Curve]:
    steps = tuple(moment.step for moment in moments)
    return [Curve(label, steps, values) for label, values in rows.items()]
