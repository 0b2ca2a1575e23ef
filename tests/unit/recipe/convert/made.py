"""Converts text, and gives what it became."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sparsify.manager import ModifierManager
from sparsify.modifiers.base import Modifier
from sparsify.recipe.convert import Converted, convert
from sparsify.recipe.nodes import SourceText
from sparsify.recipe.recipe import Recipe


def converted(config: str | Mapping[str, Any] | list[Any], file: str = "config.yaml") -> Converted:
    text = config if isinstance(config, str) else json.dumps(config)
    return convert(SourceText(text, file, file))


def modifiers(config: str | Mapping[str, Any] | list[Any], file: str = "config.yaml") -> list[Modifier]:
    return ModifierManager(Recipe.from_text(converted(config, file).text)).modifiers


def fields(config: str | Mapping[str, Any] | list[Any], file: str = "config.yaml") -> list[tuple[str, dict[str, Any]]]:
    """Type and fields of each entry, as written."""
    return [(spec.type, spec.fields) for spec in Recipe.from_text(converted(config, file).text).modifiers]
