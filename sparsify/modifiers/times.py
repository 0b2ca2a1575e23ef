"""Times that a recipe gives as ``20%`` or ``500 steps``: found in a modifier's fields, and turned into epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sparsify.clock import RelativeTime, parse_time
from sparsify.modifiers.base import Modifier

FieldPath = tuple[str | int, ...]
GUESSES = tuple((length, steps) for length in (None, 1.0, 10.0, 100.0, 1000.0) for steps in (1, 10, 100, 1000, 10000))
"""Lengths of a run (None: as the recipe's other times say) and steps per epoch under which fields may make sense."""


class TimeProblem(ValueError):
    """A time that cannot be; ``path`` says where in the fields it stands."""

    def __init__(self, message: str, path: FieldPath) -> None:
        super().__init__(message)
        self.path = path


def relative_times(cls: type[Modifier], fields: Mapping[str, Any]) -> dict[FieldPath, float | RelativeTime]:
    """Times in words, by where they stand in ``fields``.

    Raises:
        TimeProblem: One of them cannot be.
    """
    found: dict[FieldPath, float | RelativeTime] = {}
    for name in (*cls.epoch_fields, *cls.more_epochs, *cls.spans):
        parts = tuple(name.split("."))
        value: Any = fields
        for part in parts:
            value = value.get(part) if isinstance(value, Mapping) else None
        _collect(value, parts, found)
    return found


def _collect(value: object, path: FieldPath, found: dict[FieldPath, float | RelativeTime]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, (*path, index), found)
    elif isinstance(value, str):
        try:
            time = parse_time(value)
        except ValueError as error:
            raise TimeProblem(str(error), path) from error
        if time is not None:
            found[path] = time


def in_epochs(
    cls: type[Modifier],
    fields: Mapping[str, Any],
    times: Mapping[FieldPath, float | RelativeTime],
    begin: float,
    length: float,
    steps_per_epoch: int,
) -> dict[str, Any]:
    """``fields`` with ``times`` turned into epochs.

    Args:
        cls: Class of the modifier.
        fields: As the recipe has them.
        times: What ``relative_times`` found in them.
        begin: When the stage begins, counted as the fields' epochs are: what a percentage is added to.
        length: Epochs of the stage.
        steps_per_epoch: Optimizer steps in one epoch.
    """
    points = {tuple(name.split(".")) for name in (*cls.epoch_fields, *cls.more_epochs)}
    result: dict[str, Any] = {name: _copied(value) for name, value in fields.items()}
    for path, time in times.items():
        epochs = time if isinstance(time, float) else time.epochs(length, steps_per_epoch)
        if isinstance(time, RelativeTime) and time.unit == "%" and _field(path) in points:
            epochs += begin
        target: Any = result
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = epochs
    return result


def check_within(times: Mapping[FieldPath, float | RelativeTime], left: float, steps_per_epoch: int) -> None:
    """Refuse times in steps that lie after the end of the run.

    Raises:
        TimeProblem: Names the first such.
    """
    steps = math.floor(left * steps_per_epoch + 0.5)
    for path, time in times.items():
        if isinstance(time, RelativeTime) and time.unit == "steps" and time.amount > steps:
            raise TimeProblem(f"{time} is after the end of the run, which has {steps} left there", path)


def _field(path: FieldPath) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
