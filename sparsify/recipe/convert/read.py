"""Text of a configuration to plain values: YAML and JSON with foreign tags, Python literals and constructor calls."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.convert.values import TAG
from sparsify.recipe.mappings import merged, modifier_tag, text_of
from sparsify.recipe.nodes import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_NODES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    SourceText,
    compose,
)
from sparsify.recipe.scalars import resolve
from sparsify.recipe.source import read_source

CALLS = {
    "WeightPruningConfig": "pruning",
    "DistillationConfig": "distillation",
    "KnowledgeDistillationLossConfig": "KnowledgeDistillationLoss",
    "IntermediateLayersKnowledgeDistillationLossConfig": "IntermediateLayersKnowledgeDistillationLoss",
    "SelfKnowledgeDistillationLossConfig": "SelfKnowledgeDistillationLoss",
    "QuantizationAwareTrainingConfig": "quant_aware_training",
    "PostTrainingQuantConfig": "post_training_static_quant",
}
"""Constructors that a Python file may call, and what each stands for."""

_FIRST = {"WeightPruningConfig": "pruning_configs", "DistillationConfig": "teacher_model"}


@dataclass
class Found:
    """Values, and a sentence for each that only the program itself knows."""

    values: list[Any]
    notes: list[str] = field(default_factory=list)


def file_source(name: str | Path) -> SourceText:
    """Text of a file of any suffix; of Markdown, the recipe in front of it.

    Raises:
        RecipeError: It cannot be read, is no UTF-8 text or too large.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() == ".md":
        return read_source(path)
    try:
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            raise RecipeError(Problem(f"too large: {path.stat().st_size} bytes", str(name)))
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(Problem(f"cannot be read: {error.strerror}", str(name))) from error
    except ValueError as error:
        raise RecipeError(Problem("cannot be read: not UTF-8 text", str(name), hint="save it as UTF-8")) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if path.suffix.lower() == ".json":
        text = text.replace("\t", " ")  # JSON allows tabs between its parts, YAML does not
    return SourceText(text if text.endswith("\n") else text + "\n", path.name, str(name))


def read(source: SourceText) -> Found:
    """Plain values of a text: Python for ``.py`` files and where it is no YAML mapping or list.

    Raises:
        RecipeError: It is neither YAML nor Python, or beyond the bounds on size and depth.
    """
    if source.file.endswith(".py"):
        return _python(source)
    try:
        root = compose(source)
        if isinstance(root, MappingNode | SequenceNode):
            return Found([_plain(root)])
    except RecipeError as error:
        try:
            return _python(source)
        except RecipeError:
            raise error from None
    return _python(source)


def _plain(node: Node) -> Any:
    if isinstance(node, ScalarNode):
        return resolve(node.text) if node.plain and node.tag is None else node.text
    if isinstance(node, MappingNode):
        value = {text_of(key): _plain(item) for key, item in merged(node)}
        return value if modifier_tag(node) is None else {TAG: (node.tag or "").lstrip("!"), **value}
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.items]
    raise TypeError(f"a YAML node is a scalar, a sequence or a mapping, not {type(node).__name__}")


def _python(source: SourceText) -> Found:
    found = _Python()
    if len(source.text) <= MAX_CHARACTERS:
        try:
            with warnings.catch_warnings(action="ignore"):  # what the compiler thinks of the style
                tree = ast.parse(source.text)
            found.module(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
            message = f"neither YAML, JSON nor Python: {getattr(error, 'msg', None) or type(error).__name__}"
            raise RecipeError(Problem(message, source.file, line + source.skipped, column)) from None
    if not found.values:
        hint = "wanted a YAML or JSON mapping, or Python with a WeightPruningConfig(...) or a list of pruning_configs"
        raise RecipeError(Problem("no configuration found", source.file, 1, 1, hint=hint))
    return Found(found.values, found.notes)


class _Python:
    """Reads literals and known calls out of a syntax tree; nothing is run."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.notes: list[str] = []
        self.constants: dict[str, ast.expr] = {}
        self.budget = MAX_NODES

    def module(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = node.value
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in CALLS]
        within = {id(inner) for call in calls for inner in ast.walk(call) if inner is not call}
        top = [call for call in calls if id(call) not in within]
        nodes: list[ast.expr] = [*(top or _literals(tree))]
        for node in nodes:
            value = self.value(node, "", 0)
            if isinstance(value, dict | list) and value:
                self.values.append(value)

    def value(self, node: ast.expr, path: str, depth: int) -> Any:
        self.budget -= 1
        if depth > MAX_DEPTH or self.budget < 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels, or more than {MAX_NODES} values")
        if isinstance(node, ast.Call) and _called(node) in CALLS:
            return {TAG: CALLS[_called(node)], **self.value(_arguments(node), path, depth + 1)}
        if isinstance(node, ast.Dict):
            pairs = [(_key(key), item) for key, item in zip(node.keys, node.values, strict=True)]
            values = {k: self.value(v, f"{path}.{k}" if path else k, depth + 1) for k, v in pairs if k is not None}
            return {key: value for key, value in values.items() if value is not None}
        if isinstance(node, ast.List | ast.Tuple):
            values_ = [self.value(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.elts)]
            return [value for value in values_ if value is not None]
        if isinstance(node, ast.Name) and isinstance(self.constants.get(node.id), ast.List | ast.Dict):
            return self.value(self.constants[node.id], path, depth + 1)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            self.notes.append(
                f"{path or 'a value'}: {ast.unparse(node)[:60]} is known to the program only, its default is written"
            )
            return None


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _arguments(node: ast.Call) -> ast.Dict:
    given = {k.arg: k.value for k in node.keywords if k.arg}
    first = _FIRST.get(_called(node))
    if node.args and first and not isinstance(node.args[0], ast.Starred):
        given.setdefault(first, node.args[0])
    return ast.Dict([ast.Constant(name) for name in given], list(given.values()))


def _key(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _literals(tree: ast.Module) -> Iterator[ast.expr]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.Expr) and isinstance(node.value, ast.Dict | ast.List):
            yield node.value
