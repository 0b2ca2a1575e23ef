"""What labels mean: one class, several, or a number; over all splits alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sparsify.errors import InputError
from sparsify.tasks.labels import Style
from sparsify.tasks.text_classification.arguments import PROBLEMS
from sparsify.tasks.text_classification.columns import Cell, Texts

SINGLE, MULTI, REGRESSION = PROBLEMS
SCORE = "score"
"""Name of the one output of a regression."""


def _order(name: str) -> tuple[bool, int, str]:
    # ids that have no names count, 10 after 2
    return (False, int(name), "") if name.isdecimal() else (True, 0, name)


CLASSES = Style("classes", "no,yes", _order)


def problem_of(splits: Mapping[str, Texts], asked: str | None) -> str | None:
    """What the labels of all splits are, as transformers' ``problem_type`` says it; None where whole numbers leave it open.

    Args:
        splits: As read.
        asked: What was asked for.

    Raises:
        InputError: An unknown problem was asked for.
    """
    if asked is not None:
        if asked not in PROBLEMS:
            raise InputError(f"--problem_type {asked}: there is {', '.join(PROBLEMS)}")
        return asked
    found = {type(cell) for split in splits.values() for cell in split.cells or ()}
    if list in found:
        return MULTI
    if str in found:
        return SINGLE
    return REGRESSION if float in found else None


def settle(splits: Mapping[str, Texts], problem: str) -> None:
    """Bring the labels of all splits into the problem's one form, in place: ``tags`` or ``values``.

    Raises:
        InputError: A label does not fit the problem (file and line are named).
    """
    named = problem != REGRESSION and any(isinstance(one, str) for s in splits.values() for one in _each(s.cells))
    for split in splits.values():
        if split.cells is None:
            continue
        if problem == REGRESSION:
            split.values = [_number(split, i, cell) for i, cell in enumerate(split.cells)]
        else:
            rows: Any = [_classes(split, i, cell, problem, named) for i, cell in enumerate(split.cells)]
            split.tags = rows


def _each(cells: list[Cell] | None) -> Iterable[str | int | float]:
    for cell in cells or ():
        yield from cell if isinstance(cell, list) else (cell,)


def _number(split: Texts, index: int, cell: Cell) -> float:
    if isinstance(cell, str | list):
        raise InputError(f"{split.place(index)}: label {cell!r} is no number, as regression needs")
    return float(cell)


def _classes(split: Texts, index: int, cell: Cell, problem: str, named: bool) -> list[str | int]:
    if isinstance(cell, list) and problem == SINGLE:
        raise InputError(f"{split.place(index)}: a list of labels, but --problem_type is {SINGLE}")
    row: list[str | int] = []
    for one in cell if isinstance(cell, list) else (cell,):
        if isinstance(one, float):
            if not one.is_integer():
                raise InputError(f"{split.place(index)}: label {one:g} is no class; is it --problem_type {REGRESSION}?")
            one = int(one)
        row.append(str(one) if named else one)
    return row
