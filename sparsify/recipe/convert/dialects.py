"""Which tool a configuration is of, and its recipe."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.convert.distillation import LAYERS, LOGITS, SELF, convert_distillation
from sparsify.recipe.convert.draft import Draft, write
from sparsify.recipe.convert.epoch_pruning import convert_epochs, convert_steps
from sparsify.recipe.convert.quantization import APPROACHES, QAT, convert_quantization
from sparsify.recipe.convert.read import Found, read
from sparsify.recipe.convert.recipes import convert_recipe
from sparsify.recipe.convert.spans import Span
from sparsify.recipe.convert.values import TAG, Fields
from sparsify.recipe.convert.weight_pruning import KEYS, convert_pruning
from sparsify.recipe.document import DEFAULT
from sparsify.recipe.nodes import SourceText
from sparsify.recipe.parse import parse
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.scalars import written

_SECTIONS = ("pruning", "distillation", "quantization")
_ELSEWHERE = {
    "tuning": "a search for settings that keep the accuracy has no equivalent",
    "evaluation": "evaluation is the training command's",
}
_DESCRIBES = ("version", "model", "device", "framework")
_GROUP = re.compile(r"^[ \t]*(?:(?:\w+_)?modifiers|extends)[ \t]*:", re.MULTILINE)
_STEP_APPROACHES = ("weight_compression_pytorch", "weight_compression_v2")
_KNOWN = (
    "known are: WeightPruningConfig (dictionary, list of pruning_configs, or Python), YAML with pruning, distillation"
    " or quantization sections, inc_config.json, and recipes"
)


@dataclass(frozen=True)
class Converted:
    """A recipe made of something else.

    Attributes:
        text: The recipe, with comments.
        dialect: What the source was.
        lost: What has no equivalent, a sentence each.
        recipe: The source, where it is a recipe itself.
    """

    text: str
    dialect: str
    lost: tuple[str, ...]
    recipe: Recipe | None = None


def convert(source: SourceText, span: Span | None = None) -> Converted:
    """A recipe for a configuration of another tool.

    Args:
        source: Its text; ``source.file`` ending in ``.py`` means Python.
        span: When to prune where the source does not say; the whole run by default.

    Raises:
        RecipeError: It is none that is known, a value in it cannot be, or nothing in it has an equivalent.
    """
    if (recipe := _recipe(source)) is not None:
        return recipe
    dialect, draft = drafted(source, span)
    return Converted(write(draft, f"Converted from {source.origin}: {dialect}."), dialect, tuple(draft.lost))


def drafted(
    source: SourceText, span: Span | None = None, defaults: Mapping[str, Any] | None = None
) -> tuple[str, Draft]:
    """What a configuration is of, and its recipe before it is written.

    Args:
        source: Its text.
        span: When to prune where it does not say.
        defaults: Of ``WeightPruningConfig``, where it does not say.

    Raises:
        RecipeError: As ``convert``; also where the source is a recipe.
    """
    found = read(source)
    try:
        dialect, draft = _draft(found, span, defaults or {})
    except RecipeError as error:
        raise RecipeError([replace(p, file=p.file or source.file) for p in error.problems]) from error
    draft.lost += found.notes
    if not draft.entries:
        message = "nothing in it has an equivalent here" if draft.lost else "no configuration that is known"
        hint = "; ".join(draft.lost[:6]) or _KNOWN
        raise RecipeError(Problem(message, source.file, hint=hint))
    return dialect, draft


def _recipe(source: SourceText) -> Converted | None:
    """The source as a recipe of another style; None where it holds no modifier."""
    if source.file.endswith(".py"):
        return None
    if _GROUP.search(source.text) is None:
        try:
            if not any(entry.type.endswith("Modifier") for entry in parse(source, complete=False).entries):
                return None
        except RecipeError:
            return None
    recipe = Recipe.from_source(source)
    stages, dialect = convert_recipe(recipe), "a recipe, its expressions worked out"
    title = f"Converted from {source.origin}: {dialect}."
    lost = ("metadata: it says where the recipe came from, not what is done",) if recipe.metadata else ()
    if len(stages) == 1 and stages[0][0] == DEFAULT:
        stages[0][1].lost += lost
        return Converted(write(stages[0][1], title), dialect, lost, recipe)
    parts = [
        f"{written(stage.name)}:\n" + textwrap.indent(_body(draft, stage.run_type), "  ")
        for stage, (_, draft) in zip(recipe.stages, stages, strict=True)
    ]
    return Converted(write(Draft(lost=list(lost)), title) + "\n" + "\n".join(parts), dialect, lost, recipe)


def _body(draft: Draft, run_type: str | None) -> str:
    return (f"run_type: {run_type}\n" if run_type else "") + write(draft, "").lstrip("\n")


def _draft(found: Found, span: Span | None, defaults: Mapping[str, Any]) -> tuple[str, Draft]:
    whole, dialects = Draft(), []
    for index, value in enumerate(found.values):
        path = f"[{index}]" if len(found.values) > 1 else ""
        dialect, draft = _one(value, span, defaults, path)
        dialects.append(dialect)
        whole.add(draft)
    return ", ".join(dict.fromkeys(dialects)), whole


def _one(value: Any, span: Span | None, defaults: Mapping[str, Any], path: str) -> tuple[str, Draft]:
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) and _of_pruning(value):
        return "Neural Compressor's pruning_configs", convert_pruning(
            {**defaults, "pruning_configs": value}, span, path
        )
    if not isinstance(value, Mapping):
        return "", Draft()
    fields, tag = Fields(value, path), value.get(TAG)
    if tag in APPROACHES:
        approach = tag if tag == QAT else value.get("approach", tag)
        body = Fields({**value, "approach": approach}, path)
        return "Neural Compressor's quantization config", convert_quantization(body)
    if tag == "distillation" or tag in (LOGITS, LAYERS, SELF) or "criterion" in value:
        body = fields if tag == "distillation" or "criterion" in value else Fields({"criterion": value}, path)
        return "Neural Compressor's DistillationConfig", convert_distillation(body)
    if tag == "pruning" or KEYS & set(value):
        return "Neural Compressor's WeightPruningConfig", convert_pruning({**defaults, **value}, span, path)
    if "neural_compressor_version" in value:
        return "optimum-intel's inc_config.json", _inc_config(fields, span)
    if any(isinstance(value.get(section), Mapping) for section in _SECTIONS):
        return "Neural Compressor's YAML", _sections(fields)
    return "", Draft(lost=[f"{key}: {why}" for key, why in _ELSEWHERE.items() if key in value])


def _of_pruning(configs: list[Mapping[str, Any]]) -> bool:
    """Whether a list of mappings is one of local configurations, and no table of something else."""
    return any(KEYS & set(config) for config in configs)


def _sections(fields: Fields) -> Draft:
    draft = Draft()
    if fields.has("pruning"):
        draft.add(_pruning(fields.mapping("pruning")))
    if fields.has("distillation"):
        draft.add(convert_distillation(fields.mapping("distillation")))
    if fields.has("quantization"):
        draft.add(convert_quantization(fields.mapping("quantization")))
    draft.lost += [f"{key}: {why}" for key, why in _ELSEWHERE.items() if fields.has(key)]
    draft.lost += fields.unknown(_DESCRIBES)
    return draft


def _pruning(section: Fields) -> Draft:
    approach = section.mapping("approach")
    draft = Draft()
    if approach.has("weight_compression"):
        draft.add(convert_epochs(approach.mapping("weight_compression")))
    for name in _STEP_APPROACHES:
        if approach.has(name):
            draft.add(convert_steps(approach.mapping(name)))
    draft.lost += approach.unknown()
    if section.has("train"):
        draft.lost.append("pruning.train: epochs, optimizer and loss are the training command's flags")
    return draft


def _inc_config(fields: Fields, span: Span | None) -> Draft:
    draft = Draft()
    if fields.has("pruning"):
        pruning = fields.mapping("pruning")
        approach = pruning.get("approach")
        kind = approach[0] if isinstance(approach, list) and approach else approach
        pattern = pruning.get("pattern")
        config = {
            "pruning_type": kind,
            "pattern": pattern[0] if isinstance(pattern, list) and pattern else pattern,
            "target_sparsity": pruning.number("sparsity", 0.0, most=100.0) / 100.0,
        }
        draft.add(convert_pruning(config, span, pruning.path))
        draft.lost.append("pruning.sparsity: there of the whole model, here of the layers that are pruned")
    if fields.has("distillation"):
        distillation = fields.mapping("distillation")
        config = {key: value for key, value in distillation.config.items() if key != "temperature"}
        config["criterion"] = {LOGITS: {"temperature": distillation.get("temperature")}}
        draft.add(convert_distillation(Fields(config, distillation.path)))
    if fields.has("quantization"):
        quantization = fields.mapping("quantization")
        static = quantization.flag("is_static")
        samples = quantization.get("dataset_num_samples") if static else None
        config = {"approach": "static" if static else "dynamic", "calibration_sampling_size": samples}
        draft.add(convert_quantization(Fields(config, quantization.path)))
    return draft
