"""The recipe: stages of modifier entries with their fields evaluated, and the text they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.document import Document, Entry, Section
from sparsify.recipe.evaluate import FAILED, Evaluator
from sparsify.recipe.extends import extended
from sparsify.recipe.files import write_atomically
from sparsify.recipe.mappings import text_of
from sparsify.recipe.nodes import Mark, SourceText
from sparsify.recipe.overrides import RecipeArgs, apply_args, read_args
from sparsify.recipe.parse import parse
from sparsify.recipe.paths import FieldValues, read_fields, set_fields
from sparsify.recipe.source import read_source, text_source

__all__ = ["Mark", "ModifierSpec", "Recipe", "Stage"]


@dataclass(slots=True)
class ModifierSpec:
    """One entry of a recipe.

    Attributes:
        type: Name of the modifier, without ``!``.
        fields: Evaluated values: numbers, strings, booleans, None, lists, dicts.
        mark: Place of the entry.
        marks: Place of each part of ``fields``, by the keys and indices that lead to it; the place of a key itself
            has ``"__key__"`` appended. What came in through a variable has no places of its own below it.
        path: Where it stands in the recipe, as in ``pruning_modifiers[0]``.
        stage: Name of its stage.
    """

    type: str
    fields: dict[str, Any]
    mark: Mark = field(compare=False)
    marks: dict[tuple[str | int, ...], Mark] = field(repr=False, compare=False, default_factory=dict)
    path: str = ""
    stage: str = "default"


@dataclass(slots=True)
class Stage:
    """Modifiers that run together; ``default`` where a recipe has no stages.

    Attributes:
        variables: Those visible to the modifiers.
        run_type: ``train`` or ``oneshot``, None where the recipe does not say.
    """

    name: str
    modifiers: list[ModifierSpec]
    variables: dict[str, Any]
    run_type: str | None = None


@dataclass(slots=True)
class Recipe:
    """What is to be done to a model, and when.

    Attributes:
        stages: In file order.
        variables: Top-level variables, evaluated.
        text: The YAML source: comments, variables and ``eval(...)`` kept, overrides written in. Loading it again
            gives an equal recipe.
        origin: What it was loaded from.
        metadata: ``__metadata__`` of the recipe; of stages, under their names.
        warnings: What was read in spite of something odd about it.
    """

    stages: list[Stage]
    variables: dict[str, Any]
    text: str
    origin: str = field(compare=False)
    metadata: dict[str, Any]
    warnings: list[Problem] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def load(cls, source: str | Path, recipe_args: RecipeArgs = None, set_fields: FieldValues = None) -> Recipe:
        """Read a recipe.

        Args:
            source: A .yaml, .yml, .md (front matter) or .json path, a checkpoint folder, a ``zoo:`` stub, or YAML text.
            recipe_args: New values of variables: dict, JSON text, JSON or YAML file, or ``k=v,k2=v2``.
            set_fields: New values of modifiers' fields by path (``GMPruningModifier.final_sparsity``,
                ``pruning_modifiers[0].end_epoch``): a dict, or ``path=value`` texts. They come after recipe_args.

        Raises:
            RecipeError: With every problem found, each at its line and column.
            ZooError: The stub is malformed or not found.
        """
        return _whole(*cls.read(source, recipe_args, set_fields))

    @classmethod
    def read(
        cls, source: str | Path, recipe_args: RecipeArgs = None, set_fields: FieldValues = None
    ) -> tuple[Recipe, list[Problem]]:
        """As ``load``, but problems of single values come beside a recipe that lacks the modifiers they stand in.

        So whoever validates modifiers can report the mistakes of both kinds at once.

        Raises:
            RecipeError: The text is no recipe at all.
            ZooError: The stub is malformed or not found.
        """
        return _load(read_source(source), recipe_args, set_fields)

    @classmethod
    def from_text(
        cls, text: str, origin: str = "<string>", recipe_args: RecipeArgs = None, set_fields: FieldValues = None
    ) -> Recipe:
        """Read a recipe from YAML text; ``origin`` is what errors name.

        Raises:
            RecipeError: With every problem found, each at its line and column.
        """
        return _whole(*_load(text_source(text, origin), recipe_args, set_fields))

    @classmethod
    def from_source(cls, source: SourceText) -> Recipe:
        """Read a recipe from text that knows where it stands: errors name its lines, paths in it lead from its folder.

        Raises:
            RecipeError: With every problem found, each at its line and column.
        """
        return _whole(*_load(source, None, None))

    @property
    def modifiers(self) -> list[ModifierSpec]:
        """Entries of all stages, in file order."""
        return [spec for stage in self.stages for spec in stage.modifiers]

    @property
    def sha256(self) -> str:
        """Hash of ``text``, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write ``text`` to ``path``, whole or not at all.

        Raises:
            InputError: The file cannot be written.
        """
        write_atomically(path, self.text)


def _whole(recipe: Recipe, problems: list[Problem]) -> Recipe:
    if problems:
        raise RecipeError(in_order(problems))
    return recipe


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Problems as they come in the file."""
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def _load(source: SourceText, recipe_args: RecipeArgs, fields: FieldValues) -> tuple[Recipe, list[Problem]]:
    args, values = read_args(recipe_args), read_fields(fields)
    source = extended(source)
    problems: list[Problem] = []
    if args:
        source, problems = apply_args(source, parse(source), args)
    if values:
        source, unset = set_fields(source, values)
        problems += unset
    return _evaluated(source, parse(source), problems), problems


def _evaluated(source: SourceText, document: Document, problems: list[Problem]) -> Recipe:
    problems += document.problems
    warnings = document.warnings
    evaluator = Evaluator(source.text, problems, warnings=warnings)
    variables = evaluator.variables(document.root, {})
    stages = [_stage(evaluator, section, variables, f"{section.name}.") for section in document.stages]
    if not document.stages:
        stages = [Stage(document.root.name, _specs(evaluator, document.root, variables), variables)]
    metadata = _metadata(source, document, problems, warnings)
    return Recipe(stages, variables, source.text, source.origin, metadata, warnings)


def _stage(evaluator: Evaluator, section: Section, outer: Mapping[str, Any], path: str) -> Stage:
    scope = {**outer, **evaluator.variables(section, outer, path)}
    run_type = None if section.run_type is None else text_of(section.run_type)
    return Stage(section.name, _specs(evaluator, section, scope), scope, run_type)


def _specs(evaluator: Evaluator, section: Section, scope: Mapping[str, Any]) -> list[ModifierSpec]:
    specs = [_spec(evaluator, entry, section.name, scope) for entry in section.entries]
    return [spec for spec in specs if spec is not None]


def _spec(evaluator: Evaluator, entry: Entry, stage: str, scope: Mapping[str, Any]) -> ModifierSpec | None:
    spec = ModifierSpec(entry.type, {}, entry.mark, {}, entry.path, stage)
    if entry.body is not None:
        fields, spec.marks = evaluator.fields(entry.body, scope, entry.path)
        if fields is FAILED:
            return None
        spec.fields = fields
    return spec


def _metadata(
    source: SourceText, document: Document, problems: list[Problem], warnings: list[Problem]
) -> dict[str, Any]:
    reader = Evaluator(source.text, problems, expressions=False, warnings=warnings)
    found: dict[str, Any] = {}
    for section in document.sections:
        if section.metadata is None:
            continue
        value = reader.value(section.metadata, {}, section.name)
        if section is document.root and isinstance(value, dict):
            found.update(value)
        else:
            found[section.name] = value
    return found
