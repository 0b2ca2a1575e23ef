"""What two plans do differently: their modifiers, and what is in force at which step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sparsify.analysis.plan import Plan
from sparsify.plan import Moment

Change = tuple[Any, Any]


@dataclass(frozen=True)
class ModifierChange:
    """A modifier that differs: ``added``, ``removed`` or ``changed``, and what in it (before, after)."""

    key: str
    what: str
    fields: dict[str, Change] = field(default_factory=dict)
    steps: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """A run of steps in which a value differs, and the values where they are farthest apart.

    Attributes:
        name: ``lr[0]``, ``sparsity[KEY]``, ...
        first: First step that differs.
        last: Last step that differs; in between it may be equal.
        at: Step at which it differs most.
        before: Value of the first plan there; None where it is not set.
        after: Value of the second plan there.
    """

    name: str
    first: int
    last: int
    at: int
    before: Any
    after: Any


@dataclass(frozen=True)
class Difference:
    """All that differs; empty lists where nothing does."""

    epochs: Change
    steps: Change
    modifiers: list[ModifierChange]
    timeline: list[Span]

    def __bool__(self) -> bool:
        return self.epochs[0] != self.epochs[1] or bool(self.modifiers or self.timeline)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def difference(first: Plan, second: Plan) -> Difference:
    """Compare two plans; modifiers are matched by stage, class and number in their class."""
    return Difference(
        (first.epochs, second.epochs),
        (first.steps, second.steps),
        list(_modifiers(first, second)),
        list(_timeline(first, second)),
    )


def _modifiers(first: Plan, second: Plan) -> Iterator[ModifierChange]:
    before, after = _entries(first), _entries(second)
    for key in dict.fromkeys([*before, *after]):
        if key not in after or key not in before:
            yield ModifierChange(key, "removed" if key in before else "added")
            continue
        fields = _changes(before[key]["fields"], after[key]["fields"])
        steps = _changes(*({k: e[k] for k in ("start_step", "end_step")} for e in (before[key], after[key])))
        if fields or steps:
            yield ModifierChange(key, "changed", fields, steps)


def _entries(plan: Plan) -> dict[str, dict[str, Any]]:
    return {phase.modifier.key: plan.entry(phase) for phase in plan.phases}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Change]:
    names = dict.fromkeys([*before, *after])
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _timeline(first: Plan, second: Plan) -> Iterator[Span]:
    """Values that differ, in the steps that both runs have."""
    rows, others = _rows(first), _rows(second)
    unset = [None] * min(first.steps, second.steps)
    for name in dict.fromkeys([*rows, *others]):
        span = _span(name, rows.get(name, unset), others.get(name, unset))
        if span is not None:
            yield span


def _rows(plan: Plan) -> dict[str, list[Any]]:
    """Each value that the timeline holds, at every step, by name."""
    found = [_values(moment) for moment in plan.moments()]
    names = sorted({name for values in found for name in values})
    return {name: [values.get(name) for values in found] for name in names}


def _values(moment: Moment) -> dict[str, Any]:
    values: dict[str, Any] = {"bn_frozen": moment.bn_frozen, "distillation": moment.distillation}
    for group, (rate, decay) in enumerate(zip(moment.lr, moment.weight_decay, strict=True)):
        values |= {f"lr[{group}]": rate, f"weight_decay[{group}]": decay}
    for key, held in moment.values.items():
        values |= {f"{name}[{key}]": value for name, value in held.items() if name != "weight_decay"}
    return values


def _span(name: str, before: Sequence[Any], after: Sequence[Any]) -> Span | None:
    differing = [(step, a, b) for step, (a, b) in enumerate(zip(before, after, strict=False)) if a != b]
    if not differing:
        return None
    most = max(differing, key=lambda found: abs(float(found[1] or 0) - float(found[2] or 0)))
    return Span(name, differing[0][0], differing[-1][0], *most)
