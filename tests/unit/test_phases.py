"""When a modifier starts, is updated and ends."""

from __future__ import annotations

import pytest

from sparsify.clock import Clock
from sparsify.manager import load_recipe
from sparsify.phases import Phase

RECIPE = (
    "modifiers:\n  - !GMPruningModifier {{params: x, init_sparsity: 0, final_sparsity: 0.5, start_epoch: {}, "
    "end_epoch: {}, update_frequency: {}}}\n"
)


@pytest.mark.parametrize(
    ("start", "end", "frequency", "updates"),
    [
        (0, 2, 1, {0, 4, 8}),
        (0.5, 1.75, 50, {2, 7}),  # an interval longer than the span: its two ends
        (1, 1, 1, {4}),
        (0, 0.5, -1, {0, 1, 2}),
        (2.5, 3, 0.25, {10, 11, 12}),
    ],
)
def test_what_happens_at_which_step(start: float, end: float, frequency: float, updates: set[int]) -> None:
    (modifier,) = load_recipe(RECIPE.format(start, end, frequency)).modifiers
    phase = Phase(modifier, Clock(4, 12))
    assert phase.updates == updates
    assert (phase.start, phase.end) == (min(updates), max(updates))
    last = max(updates)
    assert not phase.ends_by(last - 1)
    assert phase.ends_by(last)
    assert not phase.due_after(-1)  # not begun
    phase.started = True
    assert phase.due_after(last - 1)
    assert not phase.due_after(last)
