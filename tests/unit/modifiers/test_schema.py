"""The JSON Schema of recipes, held against real ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsify.errors import SparsifyError
from sparsify.manager import load_recipe
from sparsify.modifiers.registry import names
from sparsify.modifiers.schema import custom_tags, editor_settings, recipe_schema

jsonschema = pytest.importorskip("jsonschema", reason="of the dev extra; schemas cannot be tried without it")
ROOT = Path(__file__).resolve().parents[3]


class _Untagged(yaml.SafeLoader):
    """Reads YAML as an editor does: tags are not seen."""


def _plain(loader: Any, suffix: str, node: Any) -> Any:
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Untagged.add_multi_constructor("!", _plain)
# YAML 1.2, which editors read, takes 1e-4 for a number.
_Untagged.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+e[-+]?[0-9]+"), list("-+0123456789"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = recipe_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def mistakes(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(yaml.load(text, _Untagged))]


def test_packaged_recipes_are_right(validator: Any) -> None:
    for path in sorted((ROOT / "recipes").rglob("recipe.yaml")):
        assert mistakes(validator, path.read_text()) == [], path


def test_whatever_loads_of_the_corpus_is_right(validator: Any, shared: Path) -> None:
    tried = 0
    for path in sorted((shared / "data" / "recipe_corpus").glob("*.yaml")):
        try:
            load_recipe(path)
            text = path.read_text()
            yaml.load(text, _Untagged)
        except (SparsifyError, yaml.YAMLError):
            continue
        tried += 1
        assert mistakes(validator, text) == [], path
    assert tried > 15


@pytest.mark.parametrize(
    "text",
    [
        "[{start_epoch: 0.0, end_epoch: eval(n)}]",
        "modifiers: {EpochRangeModifier: {start_epoch: 0.0, end_epoch: 2}}",
        "modifiers: [{EpochRangeModifier: {start_epoch: 0.0, end_epoch: 2}}]",
        "first: {n: 2, x_modifiers: [{start_epoch: 0, end_epoch: eval(n)}]}",
        "a: [1]\nb: {c: 1}\nversion: 1.0\nmodifiers: [{params: 're:x', trainable: 0}]",
        "modifiers:",
        "modifiers: [{start_epoch: 20%, end_epoch: 500 steps, log_types: []}]",
        "a_stage: {b_modifiers: {MagnitudePruningModifier: {init_sparsity: 0.0, final_sparsity: 0.5, start: 0, end: 1.5,"
        " update: 0.5, targets: ['re:a'], mask_structure: '2:4'}}}",
    ],
)
def test_right(validator: Any, text: str) -> None:
    assert mistakes(validator, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "modifiers: [{start_epoch: 0.0, end_epoche: 1.0}]",
        "modifiers: [{start_epoch: soon, end_epoch: 1.0}]",
        "modifiers: {EpochRangeModifer: {start_epoch: 0.0, end_epoch: 2}}",
        "modifiers: {EpochRangeModifier: {start_epoch: 0.0}}",
        "modifiers: {LearningRateFunctionModifier: {start_epoch: 0.0, end_epoch: 1, lr_func: liner, init_lr: 1, final_lr: 0}}",
        "first: {x_modifiers: [{nonsense: 1}]}",
        "modifiers: 3",
        "3",
    ],
)
def test_wrong(validator: Any, text: str) -> None:
    assert mistakes(validator, text)


def test_fields_say_what_they_mean() -> None:
    field = recipe_schema()["definitions"]["GMPruningModifier"]["properties"]["mask_type"]
    assert "N:M" in field["description"]
    assert field["default"] == "unstructured"


def test_editors_know_every_tag() -> None:
    settings = editor_settings("recipe.schema.json")
    assert list(settings["yaml.schemas"]) == ["recipe.schema.json"]
    assert settings["yaml.customTags"] == custom_tags()
    assert {re.sub(r" mapping$", "", tag) for tag in custom_tags()} == {f"!{name}" for name in names()}
