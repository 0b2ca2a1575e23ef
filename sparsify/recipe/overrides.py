"""``recipe_args``: read from any of their forms, and written into a recipe's text in place of variables' values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.document import Document
from sparsify.recipe.edits import Edits, as_written
from sparsify.recipe.evaluate import Evaluator
from sparsify.recipe.expressions import expression_in, names_in, near
from sparsify.recipe.mappings import all_nodes, placeholder
from sparsify.recipe.nodes import MAX_CHARACTERS, Node, ScalarNode, SourceText, compose, problem

RecipeArgs = Mapping[str, Any] | str | Path | None
_WHAT = "recipe_args"
_FORMS = "give a dict, JSON text such as '{\"num_epochs\": 3}', a .json or .yaml file, or  num_epochs=3,init_lr=1e-4"
_FILES = {".json", ".yaml", ".yml"}
_PAIR = re.compile(r"\s*([^=:\s]+)\s*[=:](.*)", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


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
        root = _composed(source)
        value = {}
        if root is not None:
            value = Evaluator(source.text, problems, expressions=False).value(root, {}, "")
        if problems:
            raise RecipeError(problems)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RecipeError(problem(source.mark(0, 0), "recipe_args must map names to values", hint=_FORMS))
    return value


def _composed(source: SourceText) -> Node | None:
    try:
        return compose(source)
    except RecipeError as error:
        raise RecipeError([replace(p, hint=p.hint or _FORMS) for p in error.problems]) from error


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
        result[name] = read_value(name, value, "recipe_args")
    return result


def read_value(name: str, text: str, what: str) -> Any:
    """A value as YAML reads it; ``eval(...)`` stays as it is.

    Raises:
        RecipeError: It is no YAML; ``what`` and ``name`` say where it came from.
    """
    if text.startswith("eval("):
        return text
    problems: list[Problem] = []
    source = SourceText(text + "\n", what, f"{what} {name}")
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


def apply_args(source: SourceText, document: Document, args: Mapping[str, Any]) -> tuple[SourceText, list[Problem]]:
    """A recipe's source with variables set to ``args``: at the top level and in every stage that has them.

    What the recipe uses without defining it, in ``eval(...)`` or as ``{name}``, is defined or filled in. Comments and
    layout are kept. Returns the new source and what could not be set.
    """
    problems: list[Problem] = []
    open_names = _undefined(document)
    known = {name for section in document.sections for name in section.variables}
    edits = Edits(source, _WHAT)
    for name, value in args.items():
        if name not in known and name not in open_names:
            hint = near(str(name), known | set(open_names), "variables of this recipe")
            problems.append(Problem(f"{_WHAT}: the recipe has no variable {name!r}", source.file, hint=hint))
            continue
        try:
            text = as_written(value)
        except ValueError as error:
            problems.append(Problem(f"{_WHAT}: {name}: {error}", source.file, hint=_FORMS))
            continue
        nodes = [section.variables[name] for section in document.sections if name in section.variables]
        for node in {node.start: node for node in [*nodes, *open_names.get(name, [])]}.values():
            edits.replace(node, text)
        if name not in known and not open_names[name] and (trouble := edits.add_variable(document, name, text)):
            problems.append(Problem(f"{_WHAT}: {name}: {trouble}", source.file))
    return edits.made(problems), problems


def _undefined(document: Document) -> dict[str, list[Node]]:
    """Names that are used and defined nowhere: the placeholders to fill in, none for those of expressions."""
    known = {name for section in document.sections for name in section.variables}
    found: dict[str, list[Node]] = {}
    for node in all_nodes(document):
        if name := placeholder(node):
            found.setdefault(name, []).append(node)
        elif isinstance(node, ScalarNode):
            for used in _used(node, known):
                found.setdefault(used, [])
    return {name: nodes for name, nodes in found.items() if nodes or name not in known}


def _used(node: ScalarNode, known: set[str]) -> Iterator[str]:
    try:
        expression = expression_in(node.text)
    except ValueError:
        return
    if expression is not None:
        yield from (name for name in names_in(expression, known) if _IDENTIFIER.fullmatch(name))
