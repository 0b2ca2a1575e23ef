"""Recipes one after the other: what made a model, and what goes on with it, as one recipe with stages."""

from __future__ import annotations

from collections.abc import Collection

from sparsify.recipe.document import Document, Entry, Section
from sparsify.recipe.flatten import flattened
from sparsify.recipe.nodes import Mark, ScalarNode
from sparsify.recipe.parse import parse
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.source import text_source

_HEADER = "Trainings of one model, one after the other; each counts its epochs from its own 0."
RUN = "training_run"
"""Variable of a stage: in which of several trainings, one after the other, it ran (from 1)."""


def composed(before: Recipe, after: Recipe, left_out: Collection[str] = ()) -> Recipe:
    """The stages of ``before``, then those of ``after``; each training counts its epochs from its own 0.

    Comments are lost; variables and expressions stay, those of a whole file in each of its stages.

    Args:
        before: What made the model; may be composed itself.
        after: What it is trained with next.
        left_out: Types of modifiers of ``before`` that the model has nothing of any more.

    Raises:
        RecipeError: A value cannot be written.
    """
    taken: set[str] = set()
    first = _sections(before, 0, taken, left_out)
    if not first:
        return after
    runs = max(run_of(stage.variables) for stage in before.stages)
    document = Document(Section("default"), [*first, *_sections(after, runs, taken)], [])
    source = flattened(document, text_source(after.text, after.origin), _HEADER)
    return Recipe.from_text(source.text, after.origin)


def run_of(variables: dict[str, object]) -> int:
    """Number of the training that a stage with these variables ran in."""
    found = variables.get(RUN, 1)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 1


def with_entries(recipe: Recipe, addition: str, header: str) -> Recipe:
    """``recipe`` with more modifiers in its first stage.

    Args:
        recipe: Stays as it is.
        addition: Text of a recipe without stages and variables.
        header: First line of the text, a comment.
    """
    document, more = (parse(text_source(text, recipe.origin)) for text in (recipe.text, addition))
    target = document.stages[0] if document.stages else document.root
    target.entries += more.root.entries
    source = flattened(document, text_source(recipe.text, recipe.origin), header)
    return Recipe.from_text(source.text, recipe.origin)


def _sections(recipe: Recipe, runs: int, taken: set[str], left_out: Collection[str] = ()) -> list[Section]:
    """The recipe's stages, each with all that it needs, numbered after ``runs`` trainings."""
    document = parse(text_source(recipe.text, recipe.origin))
    root = document.root
    found = []
    for section, stage in zip(document.stages or [root], recipe.stages, strict=True):
        entries = [entry for entry in section.entries if entry.type not in left_out]
        if not entries:
            continue
        number = runs + run_of(stage.variables)
        variables = {**root.variables, **section.variables, RUN: _number(number, entries[0])}
        name = _free(section.name if document.stages else f"run_{number}", number, taken)
        found.append(Section(name, entries, variables, section.metadata, run_type=section.run_type))
    return found


def _free(name: str, run: int, taken: set[str]) -> str:
    while name in taken:
        name = f"{name}_{run}"
    taken.add(name)
    return name


def _number(value: int, entry: Entry) -> ScalarNode:
    mark: Mark = entry.mark
    return ScalarNode(mark=mark, start=0, end=0, tag=None, text=str(value), plain=True)
