"""``recipe_args``: read from any of their forms, and written into a recipe's text in place of variables' values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.evaluate import Evaluator
from sparsify.recipe.expressions import near
from sparsify.recipe.nodes import MAX_CHARACTERS, Node, SourceText, compose, problem
from sparsify.recipe.parse import Document
from sparsify.recipe.scalars import written

RecipeArgs = Mapping[str, Any] | str | Path | None
_FORMS = "give a dict, JSON text such as '{\"num_epochs\": 3}', a .json or .yaml file, or  num_epochs=3,init_lr=1e-4"
_FILES = {".json", ".yaml", ".yml"}
_PAIR = re.compile(r"\s*([^=:\s]+)\s*[=:](.*)", re.DOTALL)
# What may stand before a value: anchors, and the comments and line breaks after them.
_ANCHOR = re.compile(r"&[^\s,\[\]{}]+")
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*)*")


def read_args(args: RecipeArgs) -> dict[str, Any]:
    """Names and values from a dict, JSON text, a JSON or YAML file, or ``k=v,k2=v2``.

    Raises:
        RecipeError: None of these, or not readable.
    """
    if args is None or (isinstance(args, str) and not args.strip()):
        return {}
    if isinstance(args, Mapping):
        return dict(args)
    if isinstance(args, Path):
        return _file(args)
    if not isinstance(args, str):
        raise RecipeError(Problem(f"recipe_args cannot be a {type(args).__name__}", hint=_FORMS))
    text = args.strip()
    if text.startswith(("{", "[")):
        return _mapping(SourceText(text + "\n", "recipe_args", "recipe_args"))
    if Path(text).suffix.lower() in _FILES and "=" not in text:
        return _file(Path(text))
    return _pairs(text)


def _file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            raise RecipeError(Problem("recipe_args file is too large", str(path)))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(Problem(f"cannot read recipe_args: {reason}", str(path), hint=_FORMS)) from error
    if path.suffix.lower() == ".json":
        text = text.replace("\t", " ")
    return _mapping(SourceText(text, str(path), str(path)))


def _mapping(source: SourceText) -> dict[str, Any]:
    value = _json(source.text)
    if value is None:
        problems: list[Problem] = []
        root = compose(source)
        value = {}
        if root is not None:
            value = Evaluator(source.text, problems, expressions=False).value(root, {}, "")
        if problems:
            raise RecipeError(problems)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RecipeError(problem(source.mark(0, 0), "recipe_args must map names to values", hint=_FORMS))
    return value


def _json(text: str) -> Any:
    """``text`` as strict JSON, None where YAML must decide (also for repeated keys, which YAML reports)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("repeated key")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return None


def _pairs(text: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for part in _split(text):
        match = _PAIR.fullmatch(part)
        if match is None:
            raise RecipeError(Problem(f"recipe_args: expected name=value, got {part.strip()!r}", hint=_FORMS))
        name, value = match[1], match[2].strip()
        if name in result:
            raise RecipeError(Problem(f"recipe_args: {name} is given twice"))
        result[name] = _value(name, value)
    return result


def _value(name: str, text: str) -> Any:
    if text.startswith("eval("):
        return text
    problems: list[Problem] = []
    source = SourceText(text + "\n", "recipe_args", f"recipe_args {name}")
    root = compose(source)
    value = Evaluator(source.text, problems, expressions=False).value(root, {}, name) if root is not None else None
    if problems:
        raise RecipeError(problems)
    return value


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if char == "," and depth <= 0 and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        depth += 0 if quote else (char in "[{(") - (char in "]})")
        parts[-1] += char
    return [part for part in parts if part.strip()]


def apply_args(source: SourceText, document: Document, args: Mapping[str, Any]) -> tuple[str, list[Problem]]:
    """Text of a recipe with variables set to ``args``: at the top level and in every stage that has them.

    Comments, layout and line numbers are kept. Returns the new text and what could not be set.
    """
    problems: list[Problem] = []
    known = {name for section in document.sections for name in section.variables}
    edits: dict[tuple[int, int], str] = {}
    for name, value in args.items():
        if name not in known:
            hint = near(str(name), known, "variables of this recipe")
            problems.append(Problem(f"recipe_args: the recipe has no variable {name!r}", source.file, hint=hint))
            continue
        try:
            replacement = written(value)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(f"recipe_args: {name}: {error}", source.file, hint=_FORMS))
            continue
        for section in document.sections:
            if name in section.variables:
                node = section.variables[name]
                edits[_span(source.text, node)] = _fitted(source.text, node, replacement)
    return _edited(source, edits, problems), problems


def _span(text: str, node: Node) -> tuple[int, int]:
    """Where the value stands: behind its anchor, which stays, but with its type tag, which the new value may not fit."""
    match = None if node.tag else _PROPERTIES.match(text, node.start)
    start = min(match.end() if match else node.start, node.end)
    return start, start + len(text[start : node.end].rstrip())


def _fitted(text: str, node: Node, replacement: str) -> str:
    start, end = _span(text, node)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    # An empty value ends right behind the colon; a list may stand as far left as its key, where a value may not.
    lead = " " if line and not line[-1].isspace() and line[-1] not in "[{,(" else "  " if not line.strip() else ""
    properties = _PROPERTIES.match(text, start) if node.tag else None
    anchors = "".join(f"{anchor} " for anchor in _ANCHOR.findall(properties[0])) if properties else ""
    return lead + anchors + replacement + "\n" * text.count("\n", start, end)


def _edited(source: SourceText, edits: Mapping[tuple[int, int], str], problems: list[Problem]) -> str:
    text, bound = source.text, len(source.text)
    for (start, end), replacement in sorted(edits.items(), reverse=True):
        if end > bound:
            mark = source.mark_at(start)
            problems.append(problem(mark, "recipe_args set a variable and a part of it that it takes from an anchor"))
            continue
        text, bound = text[:start] + replacement + text[end:], start
    return text
