"""JSON Schema of recipe files, made from the modifiers' classes, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsify.modifiers.base import Modifier
from sparsify.modifiers.reference import field_schemas, meaning_of, reference
from sparsify.modifiers.registry import classes
from sparsify.modifiers.validate import OTHER_NAMES, RETIRED, fields_of

Schema = dict[str, Any]
_EXPRESSION = {
    "type": "string",
    "pattern": r"^\s*eval\(.*\)\s*$",
    "description": "arithmetic over the recipe's variables",
}
_TIME = {
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(%|steps?|epochs?)\s*$",
    "description": "20% of the run, 500 steps or 2 epochs",
}


def recipe_schema() -> Schema:
    """JSON Schema (draft 7, which editors read) of a recipe file.

    An editor does not see YAML tags, so an entry of a list is any modifier's fields; under ``Name: {fields}`` it is
    those of that modifier.
    """
    known = classes()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sparsify recipe",
        "anyOf": [{"$ref": "#/definitions/recipe"}, {"$ref": "#/definitions/entries"}],
        "definitions": {
            "expression": _EXPRESSION,
            "time": _TIME,
            "recipe": _top_level(),
            "stage": {
                "type": "object",
                "description": "a stage, if a key of it contains 'modifiers'; else a variable",
                "patternProperties": {"modifiers": {"$ref": "#/definitions/group"}},
            },
            "group": _group(),
            "entries": {"type": "array", "items": {"$ref": "#/definitions/entry"}},
            "named": {
                "type": "object",
                "properties": {name: {"$ref": f"#/definitions/{cls.__name__}"} for name, cls in known.items()},
                "additionalProperties": False,
            },
            "entry": _entry(known),
            **{cls.__name__: _fields(cls) for cls in known.values()},
        },
    }


def custom_tags() -> list[str]:
    """Tags of all modifiers as the YAML extension of VS Code takes them (``yaml.customTags``)."""
    return [f"!{name}{kind}" for name in classes() for kind in (" mapping", "")]


def editor_settings(schema_path: str) -> Schema:
    """What goes into ``.vscode/settings.json``, for a schema saved at ``schema_path``."""
    return {"yaml.schemas": {schema_path: ["*recipe*.yaml", "recipes/**/*.yaml"]}, "yaml.customTags": custom_tags()}


def _top_level() -> Schema:
    return {
        "type": "object",
        "description": "variables, lists of modifiers under keys that contain 'modifiers', or stages of such",
        "properties": {"version": {"description": "kept, not interpreted"}, "__metadata__": {"description": "kept"}},
        "patternProperties": {"modifiers": {"$ref": "#/definitions/group"}},
        "additionalProperties": {
            "anyOf": [
                {"type": ["number", "string", "boolean", "null", "array"], "description": "a variable"},
                {"$ref": "#/definitions/stage"},
            ]
        },
    }


def _group() -> Schema:
    kinds = [{"$ref": "#/definitions/entries"}, {"$ref": "#/definitions/named"}, {"type": "null"}]
    return {"description": "modifiers", "anyOf": kinds}


def _entry(known: Mapping[str, type[Modifier]]) -> Schema:
    tagged = [{"$ref": f"#/definitions/{cls.__name__}"} for cls in dict.fromkeys(known.values())]
    one = {"allOf": [{"$ref": "#/definitions/named"}, {"minProperties": 1, "maxProperties": 1}]}
    return {
        "description": "!NameOfModifier and its fields",
        "anyOf": [*tagged, one, {"type": ["null", "string"], "maxLength": 0}],
    }


def _fields(cls: type[Modifier]) -> Schema:
    about = reference(cls)
    names = {info.alias or name: name for name, info in cls.model_fields.items()}
    times = {*cls.epoch_fields, *cls.spans}
    properties = {}
    for alias, field in field_schemas(cls).items():
        properties[alias] = _value(field, alias in times) | {"description": meaning_of(cls, names[alias])}
        if "default" in field:
            properties[alias]["default"] = field["default"]
    others = _other_names(cls, properties)
    needed = [alias for alias, name in names.items() if cls.model_fields[name].is_required()]
    given = [_given([name, *(n for n, ours in others.items() if ours == name)]) for name in needed]
    missing = "" if about.available else f"not available yet{f', {about.instead}' if about.instead else ''}. "
    return {
        "type": "object",
        "title": about.name,
        "description": missing + about.summary,
        "properties": properties | {n: properties[ours] for n, ours in others.items()} | _retired(properties),
        "additionalProperties": False,
    } | ({"allOf": given} if given else {})


def _other_names(cls: type[Modifier], properties: Schema) -> dict[str, str]:
    """What else recipes may call fields, and the fields' own names."""
    own = {id(info): info.alias or name for name, info in cls.model_fields.items()}
    found = {name: own[id(info)] for name, info in fields_of(cls).items() if name not in properties}
    style = {name: ours for name, ours in OTHER_NAMES.items() if ours in properties and name not in properties}
    return {name: ours for name, ours in (found | style).items() if ours in properties}


def _retired(properties: Schema) -> Schema:
    return {
        name: {"description": f"not used any more: {why}"} for name, why in RETIRED.items() if name not in properties
    }


def _given(names: list[str]) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


def _value(schema: Mapping[str, Any], time: bool = False) -> Schema:
    """A field's value as a recipe may write it: also 0 and 1 for booleans, and ``eval(...)`` anywhere."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "default", "description", "examples")}
    if plain.get("type") == "boolean":
        plain = {"enum": [True, False, 0, 1]}
    if isinstance(plain.get("items"), Mapping):
        plain["items"] = _value(plain["items"])
    if isinstance(plain.get("additionalProperties"), Mapping):
        plain["additionalProperties"] = _value(plain["additionalProperties"])
    alternatives = [
        _value(part) if part.get("type") in ("array", "object") else dict(part) for part in plain.get("anyOf", [])
    ]
    words = [{"$ref": "#/definitions/time"}] if time else []
    return {"anyOf": [*(alternatives or [plain]), *words, {"$ref": "#/definitions/expression"}]}
