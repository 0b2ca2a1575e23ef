"""Modifier names to classes, and recipe entries to validated modifiers with errors at their place in the file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TypeVar

from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Modifier
from sparsify.modifiers.stages import place_stages
from sparsify.modifiers.validate import Validator
from sparsify.recipe.recipe import ModifierSpec, Recipe, in_order

_ALL_NAMES = "`sparsify-recipe list` shows the modifiers that there are"
_classes: dict[str, type[Modifier]] = {}
M = TypeVar("M", bound=type[Modifier])


def register(name: str, *aliases: str) -> Callable[[M], M]:
    """Class decorator: make a modifier known to recipes under ``name`` (and ``aliases``).

    Raises:
        TypeError: The class is no Modifier.
        ValueError: The name is taken.
    """

    def add(cls: M) -> M:
        if not (isinstance(cls, type) and issubclass(cls, Modifier)):
            raise TypeError(f"{cls!r} must subclass sparsify.Modifier to be registered")
        for key in (name, *aliases):
            if _classes.get(key, cls) is not cls:
                raise ValueError(f"a modifier named {key} is registered already: {_classes[key].__module__}")
            _classes[key] = cls
        return cls

    return add


def load_plugins() -> None:
    """Import the modifiers of other packages: entry points of the group ``sparsify.modifiers``."""
    for entry in entry_points(group="sparsify.modifiers"):
        entry.load()


def names() -> list[str]:
    """All names a recipe may use, sorted."""
    return sorted(_classes)


def classes() -> dict[str, type[Modifier]]:
    """Class of each name that a recipe may use, those of plugins included, sorted."""
    load_plugins()
    return dict(sorted(_classes.items()))


def get(name: str) -> type[Modifier]:
    """The class registered under ``name``.

    Raises:
        RecipeError: No such modifier; the nearest names are given.
    """
    if name not in _classes:
        load_plugins()
    if name in _classes:
        return _classes[name]
    near = _near(name)
    hint = f"did you mean {' or '.join(near)}?" if near else _ALL_NAMES
    raise RecipeError(Problem(f"unknown modifier {name!r}", hint=hint))


def _near(name: str) -> list[str]:
    """Registered names that ``name`` may have meant; all end alike, so that the end alone makes none near."""
    if close := difflib.get_close_matches(name, names(), n=1, cutoff=0.9):
        return close
    heads = {known.removesuffix("Modifier").lower(): known for known in names()}
    asked = name.removesuffix("Modifier").lower()
    return [heads[head] for head in ([asked] if asked in heads else difflib.get_close_matches(asked, heads, n=3))]


def build(recipe: Recipe, found: Sequence[Problem] = (), warnings: list[Problem] | None = None) -> list[Modifier]:
    """Validate every entry of ``recipe`` and put its stages one after another (see ``place_stages``).

    Args:
        recipe: What was read.
        found: Problems found while reading, to be raised together with those found here.
        warnings: Takes what was passed over.

    Returns:
        Modifiers in file order, each placed (key and stage).

    Raises:
        RecipeError: With every problem of the file, each at its line and column.
    """
    problems: list[Problem] = [*found]
    validator = Validator(problems, [] if warnings is None else warnings)
    stages = [[m for spec in stage.modifiers if (m := _made(spec, validator))] for stage in recipe.stages]
    # Times that could not be read would make the others look mixed.
    place_stages(recipe, stages, [] if problems else problems)
    if problems:
        raise RecipeError(in_order(problems))
    return [modifier for stage in stages for modifier in stage]


def _made(spec: ModifierSpec, validator: Validator) -> Modifier | None:
    try:
        cls = get(spec.type)
    except RecipeError as error:
        mark = spec.mark
        validator.problems += [
            Problem(p.message, mark.file, mark.line, mark.column, spec.path, p.hint) for p in error.problems
        ]
        return None
    return validator.modifier(spec, cls)
