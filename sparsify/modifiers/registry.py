"""Modifier names to classes, and recipe entries to validated modifiers with errors at their place in the file."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Modifier
from sparsify.recipe.recipe import Mark, ModifierSpec, Recipe, in_order

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


def get(name: str) -> type[Modifier]:
    """The class registered under ``name``.

    Raises:
        RecipeError: No such modifier; the nearest names are given.
    """
    if name not in _classes:
        load_plugins()
    if name in _classes:
        return _classes[name]
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known modifiers: {', '.join(names())}"
    raise RecipeError(Problem(f"unknown modifier {name!r}", hint=hint))


def build(recipe: Recipe, found: Sequence[Problem] = ()) -> list[Modifier]:
    """Validate every entry of ``recipe`` and put its stages one after another.

    A stage whose first time lies before the end of the stage before it counts from its own 0 and is moved there;
    one that starts later is taken as written in epochs of the whole run.

    Args:
        recipe: What was read.
        found: Problems found while reading, to be raised together with those found here.

    Returns:
        Modifiers in file order, each placed (key and stage offset).

    Raises:
        RecipeError: With every problem of the file, each at its line and column.
    """
    problems: list[Problem] = [*found]
    modifiers: list[Modifier] = []
    counts: Counter[tuple[str, str]] = Counter()
    stage_end = 0.0
    for stage in recipe.stages:
        built = [m for spec in stage.modifiers if (m := _validated(spec, problems)) is not None]
        times = [getattr(m, f) for m in built for f in m.epoch_fields]
        begin = min((t for t in times if t is not None and t >= 0), default=0.0)
        offset = stage_end if begin < stage_end else 0.0
        for modifier in built:
            kind = type(modifier).__name__
            modifier.place(f"{stage.name}/{kind}/{counts[stage.name, kind]}", offset)
            counts[stage.name, kind] += 1
        stage_end = max([stage_end, *(m.last_epoch() for m in built)])
        modifiers += built
    if problems:
        raise RecipeError(in_order(problems))
    return modifiers


def _validated(spec: ModifierSpec, problems: list[Problem]) -> Modifier | None:
    try:
        cls = get(spec.type)
    except RecipeError as error:
        problems += [_at(spec.mark, p.message, spec.path, p.hint) for p in error.problems]
        return None
    try:
        modifier = cls(**spec.fields)
    except ValidationError as error:
        problems += [_located(spec, cls, detail) for detail in error.errors()]
        return None
    modifier.written_at(_at(spec.mark, "", spec.path, None))
    return modifier


def _located(spec: ModifierSpec, cls: type[Modifier], detail: ErrorDetails) -> Problem:
    fields = sorted(_fields(cls))
    loc = tuple(part for part in detail["loc"] if not (isinstance(part, str) and part.startswith(("function-", "is-"))))
    name = str(loc[0]) if loc else ""
    path = f"{spec.path}.{name}" if name else spec.path
    if detail["type"] == "extra_forbidden":
        if name in fields:
            return _at(
                _mark(spec, (*loc[:1], "__key__")), f"{name!r} stands here under two names", path, "give it once"
            )
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"its fields are: {', '.join(fields)}"
        return _at(_mark(spec, (*loc[:1], "__key__")), f"{spec.type} has no field {name!r}", path, hint)
    if detail["type"] == "missing":
        return _at(spec.mark, f"{spec.type} needs the field {name!r}", path, _describe(cls, name))
    message = detail["msg"].removeprefix("Value error, ")
    if loc:
        message = f"{name}: {message[:1].lower()}{message[1:]}, got {_short(detail['input'])}"
    return _at(_mark(spec, loc), message, path, _describe(cls, name) if loc else None)


def _mark(spec: ModifierSpec, path: tuple[Any, ...]) -> Mark:
    """Mark of the innermost recorded node on the way to ``path``."""
    while path and path not in spec.marks:
        path = path[:-1]
    return spec.marks.get(path, spec.mark)


def _describe(cls: type[Modifier], name: str) -> str | None:
    field = _fields(cls).get(name)
    return field.description if field else None


def _fields(cls: type[Modifier]) -> dict[str, FieldInfo]:
    """Fields by the names that recipes use."""
    return {name: field for own, field in cls.model_fields.items() for name in _written(own, field)}


def _written(name: str, field: FieldInfo) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [choice for choice in field.validation_alias.choices if isinstance(choice, str)]
    return [field.alias or name]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _at(mark: Mark, message: str, path: str, hint: str | None) -> Problem:
    return Problem(message, mark.file, mark.line, mark.column, path, hint)
