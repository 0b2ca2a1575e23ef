"""A recipe written out: variables and ``eval(...)`` replaced by their values. Loading it gives the same modifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsify.recipe.recipe import Recipe, Stage
from sparsify.recipe.scalars import written

_LONGEST = 110
Fields = Mapping[str, Any]


def resolved(recipe: Recipe, defaults: Mapping[str, Fields] | None = None) -> str:
    """YAML in tag style, without variables.

    Args:
        recipe: What was read.
        defaults: Fields that a modifier takes its defaults in, by its path: written as comments.
    """
    staged = len(recipe.stages) > 1 or recipe.stages[0].name != "default"
    epochs = recipe.variables.get("epochs")
    lines = [f"epochs: {epochs}"] if staged and epochs in ("absolute", "relative") else []
    for stage in recipe.stages:
        indent = "  " if staged else ""
        lines += [f"{written(stage.name)}:"] if staged else []
        lines += [f"  run_type: {stage.run_type}"] if stage.run_type else []
        lines += [f"{indent}modifiers:", *_modifiers(stage, f"{indent}  ", defaults or {})]
    return "\n".join(lines) + "\n"


def _modifiers(stage: Stage, indent: str, defaults: Mapping[str, Fields]) -> list[str]:
    lines = []
    for spec in stage.modifiers:
        lines += entry_lines(spec.type, spec.fields, indent, defaults.get(spec.path, {}))
    return lines


def entry_lines(name: str, fields: Fields, indent: str = "  ", defaults: Fields | None = None) -> list[str]:
    """Lines of one entry of a list of modifiers; long lists and mappings one item a line, ``defaults`` as comments."""
    lines = [f"{indent}- !{name}"]
    for key, value in fields.items():
        lines += _field(key, value, f"{indent}  ")
    return lines + [f"{indent}  # {written(key)}: {written(value)}" for key, value in (defaults or {}).items()]


def _field(key: str, value: Any, indent: str) -> list[str]:
    flat = f"{indent}{written(key)}: {written(value)}"
    if len(flat) <= _LONGEST or not isinstance(value, list | dict):
        return [flat]
    if isinstance(value, list):
        return [f"{indent}{written(key)}:", *(f"{indent}  - {written(item)}" for item in value)]
    return [f"{indent}{written(key)}:", *(f"{indent}  {written(k)}: {written(v)}" for k, v in value.items())]
