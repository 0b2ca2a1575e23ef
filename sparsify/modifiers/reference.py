"""What a modifier's class says about it: fields, defaults, meaning, an example; for commands, pages and editors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sparsify.modifiers.base import Modifier
from sparsify.modifiers.registry import classes
from sparsify.recipe.scalars import written

# What a field is shown with where its class gives no example of its own.
_EXAMPLES: dict[str, Any] = {
    "start_epoch": 0.0,
    "end_epoch": 2.0,
    "update_frequency": 0.25,
    "params": ["re:.*dense.weight"],
    "init_sparsity": 0.0,
    "final_sparsity": 0.8,
    "learning_rate": 1e-4,
    "init_lr": 1e-4,
    "final_lr": 0.0,
    "weight_decay": 0.01,
    "val": 0.0,
    "init_val": 0.0,
    "final_val": 0.5,
    "alpha": 1e-4,
    "compression_sparsity": 0.9,
    "forward_sparsity": 0.8,
    "backward_sparsity": 0.5,
    "layers": ["bert.encoder.layer.3"],
    "targets": ["re:.*layer.[13].output"],
    "layer_mappings": [["bert.encoder.layer.1", "bert.encoder.layer.3"]],
    "mappings": [[["re:.*query", "re:.*key", "re:.*value"], "re:.*LayerNorm"]],
    "param_group_dependency_map": {"conv1.weight": ["conv2.weight"]},
}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class FieldReference:
    """One field: its name in recipes, what may stand there, its default as YAML (None: needed), what it means."""

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Reference:
    """One modifier.

    Attributes:
        name: Its tag, without ``!``.
        aliases: Other names it goes by.
        kind: Of training, learning_rate, pruning, quantization, distillation, ...
        summary: Its first sentence.
        text: All that its class says.
        paper: Where the method comes from.
        available: Whether it is built.
        instead: What to use where it is not.
        fields: Those that are needed first.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    summary: str
    text: str
    paper: str
    available: bool
    instead: str | None
    fields: tuple[FieldReference, ...]


def reference(cls: type[Modifier]) -> Reference:
    """What is known of a registered class."""
    known = [name for name, registered in classes().items() if registered is cls]
    name = cls.__name__ if cls.__name__ in known or not known else known[0]
    text = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
    return Reference(
        name,
        tuple(sorted(set(known) - {name})),
        cls.kind,
        " ".join(text.split("\n\n")[0].split()),
        text,
        _ARXIV.sub(r"https://arxiv.org/abs/\1", cls.paper),
        cls.available,
        cls.instead,
        _fields(cls),
    )


def references() -> list[Reference]:
    """Every modifier that is known, sorted by name."""
    return [reference(cls) for cls in sorted(set(classes().values()), key=lambda cls: cls.__name__)]


def _fields(cls: type[Modifier]) -> tuple[FieldReference, ...]:
    properties = field_schemas(cls)
    found = [
        FieldReference(alias, type_words(properties[alias]), _default(info), meaning_of(cls, name))
        for name, info in cls.model_fields.items()
        for alias in [info.alias or name]
    ]
    return tuple(sorted(found, key=lambda field: field.default is not None))


def field_schemas(cls: type[Modifier]) -> dict[str, dict[str, Any]]:
    """JSON Schema of each field, by the name that recipes use."""
    schema = cls.model_json_schema(by_alias=True, mode="validation")
    found: dict[str, dict[str, Any]] = _inlined(schema["properties"], schema.get("$defs", {}))
    return found


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A part of a schema with what it refers to in place of the references."""
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, Mapping):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: _inlined(value, definitions) for key, value in part.items()}


def meaning_of(cls: type[Modifier], name: str) -> str:
    """A field's description: of the class, or of the nearest base that describes it."""
    for base in cls.__mro__:
        info = getattr(base, "model_fields", {}).get(name)
        if info is not None and info.description:
            return str(info.description)
    return ""


def _default(info: FieldInfo) -> str | None:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True, validated_data={})
    return None if value is PydanticUndefined else written(value)


def example_fields(cls: type[Modifier]) -> dict[str, Any]:
    """Values of an entry that loads: what is needed, and what the class shows beyond that.

    Raises:
        LookupError: A needed field has no example; give its class one.
    """
    found = dict(cls.example)
    for name, info in cls.model_fields.items():
        alias = info.alias or name
        if info.is_required() and alias not in found:
            found[alias] = _example(cls, alias, info)
    order = [info.alias or name for name, info in cls.model_fields.items()]
    return {name: found[name] for name in sorted(found, key=order.index)}


def _example(cls: type[Modifier], name: str, info: FieldInfo) -> Any:
    choices = field_schemas(cls)[name].get("enum") or []
    if info.examples:
        return info.examples[0]
    if name not in _EXAMPLES and not choices:
        raise LookupError(f"{cls.__name__}.{name} has no example: give it one with Field(examples=[...])")
    return _EXAMPLES[name] if name in _EXAMPLES else choices[0]


def type_words(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in words: ``number above 0``, ``list of text or null``."""
    if "enum" in schema or "const" in schema:
        return _joined([str(value) for value in schema.get("enum", [schema.get("const")])])
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return _joined(list(dict.fromkeys(map(type_words, alternatives))))
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return ("number" if kind == "number" else "whole number") + _bounds(schema)
    if kind == "array":
        items = schema.get("items")
        return "list of " + re.sub(r"number\b", "numbers", type_words(items)) if items else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping to {type_words(values)}" if isinstance(values, Mapping) and values else "mapping"
    return {"string": "text", "boolean": "true or false", "null": "null"}.get(str(kind), "any value")


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    return "".join(f" {word} {schema[key]:g}" for key, word in words.items() if key in schema)


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
