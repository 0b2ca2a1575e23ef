"""Where stages lie in the run: their epochs as written for the whole run, or each counted from its own 0."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sparsify.errors import Problem
from sparsify.modifiers.base import Modifier
from sparsify.recipe.compose import run_of
from sparsify.recipe.recipe import Recipe, Stage

ABSOLUTE, RELATIVE = "absolute", "relative"
_CHOICE = "epochs"


@dataclass(frozen=True, slots=True)
class _Span:
    """First and last time of a stage as written; None where it names none."""

    stage: Stage
    first: float | None
    last: float
    modifiers: Sequence[Modifier]

    @property
    def name(self) -> str:
        return self.stage.name


def place_stages(recipe: Recipe, stages: Sequence[Sequence[Modifier]], problems: list[Problem]) -> None:
    """Say of every modifier when its stage begins and how long it is.

    Epochs are absolute where each stage starts at or after the end of the one before, as in recipes that were
    composed and saved; else each stage counts from its own 0 and is moved to where the one before ends. The
    variable ``epochs: absolute`` or ``epochs: relative`` says so for a file that shows both. Stages of several
    trainings (``recipe.compose``) are placed training by training, and nothing of an earlier one outlasts it.

    Args:
        recipe: For names and variables.
        stages: Its modifiers, by stage.
        problems: Where a file that shows both goes.
    """
    spans = [_span(stage, built) for stage, built in zip(recipe.stages, stages, strict=True)]
    runs = [list(run) for _, run in itertools.groupby(spans, lambda span: run_of(span.stage.variables))]
    now = 0.0
    for run in runs:
        now = _place_run(run, now, run is runs[-1], problems)


def _place_run(spans: Sequence[_Span], begin: float, last: bool, problems: list[Problem]) -> float:
    """Place the stages of one training that begins at epoch ``begin``; returns where it ends."""
    absolute = _is_absolute(spans, problems)
    now, counted = begin, 0.0
    for index, span in enumerate(spans):
        end = begin + max(counted, span.last) if absolute else now + span.last
        length = None if last and index == len(spans) - 1 else end - now
        counts: Counter[str] = Counter()
        for modifier in span.modifiers:
            kind = type(modifier).__name__
            key = f"{span.name}/{kind}/{counts[kind]}"
            counts[kind] += 1
            modifier.place(key, begin if absolute else now, counted if absolute else 0.0, length)
        now, counted = end, end - begin
    for modifier in itertools.chain.from_iterable(span.modifiers for span in spans):
        modifier.place_training(begin, -1.0 if last else now)
    return now


def _span(stage: Stage, built: Sequence[Modifier]) -> _Span:
    times = [time for modifier in built for time in modifier.points()]
    return _Span(stage, min(times, default=None), max(times, default=0.0), built)


def _is_absolute(spans: Sequence[_Span], problems: list[Problem]) -> bool:
    if len(spans) < 2:
        return False
    timed = [span for span in spans if span.first is not None]
    pairs = [(a, b) for a, b in itertools.pairwise(timed) if a.last > 0]
    after = [(a, b) for a, b in pairs if b.first is not None and b.first >= a.last]
    before = [pair for pair in pairs if pair not in after]
    chosen = spans[0].stage.variables.get(_CHOICE)
    if chosen == ABSOLUTE and before:
        said = f"{_said(*before[0])}: with epochs: absolute stages come one after another"
        problems.append(_at_odds(before[0][1], said))
    if chosen in (ABSOLUTE, RELATIVE):
        return bool(chosen == ABSOLUTE)
    if after and before:
        said = f"{_said(*after[0])}, as epochs of the whole run, but {_said(*before[0])}"
        problems.append(_at_odds(after[0][1], said))
    return bool(after) and not before


def _said(first: _Span, second: _Span) -> str:
    when = "at or after" if second.first is not None and second.first >= first.last else "before"
    return f"stage {second.name} starts at {second.first:g}, {when} the end of {first.name} ({first.last:g})"


def _at_odds(span: _Span, message: str) -> Problem:
    starts = [m for m in span.modifiers if span.first in m.points()]
    hint = f"write  {_CHOICE}: {ABSOLUTE}  (epochs of the whole run) or  {_CHOICE}: {RELATIVE}  (each from its own 0)"
    return starts[0].problem(message, hint)
