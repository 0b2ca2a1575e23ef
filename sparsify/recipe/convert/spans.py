"""When Neural Compressor prunes: its steps as times of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.convert.values import Fields

Time = float | int | str


@dataclass(frozen=True)
class Span:
    """Start, end and interval of a pruner, as recipes write them.

    Attributes:
        note: Where the end comes from.
    """

    start: Time = 0
    end: Time = "100%"
    frequency: Time = "1 step"
    note: str = "no end_step is given: the whole run"

    def fields(self) -> dict[str, Time]:
        """As fields of a modifier."""
        return {"start_epoch": self.start, "end_epoch": self.end, "update_frequency": self.frequency}


def steps(count: int) -> str:
    """``1 step``, ``500 steps``."""
    return f"{count} step{'' if count == 1 else 's'}"


def span_of(fields: Fields, default: Span, needs_gradient: bool) -> Span:
    """Span that ``start_step``, ``end_step`` and ``pruning_frequency`` say; of ``default`` what they do not say.

    Updates come at ``start + k * frequency`` up to ``end``, and the target is reached at the last of them: a remainder
    that the frequency does not divide is cut off. ``end_step`` 0 and -1 stand for none with gradient scores.

    Raises:
        RecipeError: ``end_step`` is before ``start_step``.
    """
    start, frequency = fields.whole("start_step", 0), fields.whole("pruning_frequency", 1, least=1)
    end = fields.whole("end_step", -1, least=-1)
    given = fields.has("end_step") and (end > 0 or (end == 0 and not needs_gradient))
    first = steps(start) if fields.has("start_step") and start else (0 if fields.has("start_step") else default.start)
    if not given:
        every = steps(frequency) if fields.has("pruning_frequency") else default.frequency
        return Span(first, default.end, every, default.note)
    if end < start:
        raise RecipeError(Problem(f"end_step {end} is before start_step {start}", path=fields.at("end_step")))
    if not fields.has("start_step") and default.start:
        return Span(default.start, steps(end), default.frequency, "")
    updates = (end - start) // frequency
    if updates == 0:
        return Span(first, first, steps(frequency), "start and end fall together: all at once, at this step")
    last = start + updates * frequency
    cut = f"updates come every {frequency} steps: the last one before step {end}" if last != end else ""
    return Span(first, steps(last), steps(frequency), cut)
