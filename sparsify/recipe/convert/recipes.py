"""Recipes of any style (stages as mappings, modifiers by name, variables) in ours: one tag per modifier, values plain."""

from __future__ import annotations

from sparsify.recipe.convert.draft import GROUPS, Draft, Entry
from sparsify.recipe.recipe import ModifierSpec, Recipe

_WORDS = (
    ("distillation", "distillation"),
    ("quantiz", "quantization"),
    ("gptq", "quantization"),
    ("thinning", "structure"),
    ("prun", "pruning"),
    ("sparse", "pruning"),
    ("obs", "pruning"),
)


def convert_recipe(recipe: Recipe) -> list[tuple[str, Draft]]:
    """A draft for each stage, with its name, every expression worked out."""
    return [(stage.name, Draft([_entry(spec) for spec in stage.modifiers])) for stage in recipe.stages]


def _entry(spec: ModifierSpec) -> Entry:
    name = spec.type.lower()
    group = next((group for word, group in _WORDS if word in name), GROUPS[0])
    return Entry(spec.type, dict(spec.fields), group=group)
