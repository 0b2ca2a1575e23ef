"""Text of a configuration to plain values: YAML and JSON with foreign tags, Python literals and constructor calls."""

from __future__ import annotations

import ast
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
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
    problem,
)
from sparsify.recipe.scalars import resolve
from sparsify.recipe.source import read_source
from sparsify.zoo.names import expanded

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

_LOSSES = ("loss_types", "loss_weights")
_PLACES = {
    "WeightPruningConfig": (
        *("pruning_configs", "target_sparsity", "pruning_type", "pattern", "op_names", "excluded_op_names", "backend"),
        *("start_step", "end_step", "pruning_scope", "pruning_frequency"),
        *("min_sparsity_ratio_per_op", "max_sparsity_ratio_per_op", "sparsity_decay_type", "pruning_op_types"),
    ),
    "DistillationConfig": ("teacher_model", "criterion", "optimizer"),
    "KnowledgeDistillationLossConfig": ("temperature", *_LOSSES),
    "IntermediateLayersKnowledgeDistillationLossConfig": ("layer_mappings", *_LOSSES, "add_origin_loss"),
}
"""Arguments that may be given without their names, in order."""


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
    path = expanded(name)
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
    return SourceText(text if text.endswith("\n") else text + "\n", path.name, str(name), folder=path.parent)


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
        try:
            return resolve(node.text) if node.plain and node.tag is None else node.text
        except ValueError as error:
            raise RecipeError(problem(node.mark, str(error))) from error
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
        self.assigned: dict[str, list[ast.expr]] = defaultdict(list)
        self.stored: Counter[str] = Counter()
        self.budget = MAX_NODES

    def module(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.assigned[node.targets[0].id].append(node.value)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.stored[node.id] += 1
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in CALLS]
        within = self.within(calls)
        top = [call for call in calls if id(call) not in within]
        nodes: list[ast.expr] = [*(top or _literals(tree))]
        for node in nodes:
            value = self.value(node, "", 0)
            if isinstance(value, dict | list) and value:
                self.values.append(value)

    def within(self, calls: list[ast.Call]) -> set[int]:
        """What stands in these calls, also by the name of a variable."""
        found: set[int] = set()
        left: list[ast.AST] = [child for call in calls for child in ast.iter_child_nodes(call)]
        while left:
            node = left.pop()
            if id(node) not in found:
                found.add(id(node))
                left += ast.iter_child_nodes(node)
                left += filter(None, [self.known(node) if isinstance(node, ast.Name) else None])
        return found

    def known(self, name: ast.Name) -> ast.expr | None:
        """What a variable holds: the list, mapping or known call last assigned to it before, or its only number or text."""
        place = (name.lineno, name.col_offset)
        before = [node for node in self.assigned[name.id] if (node.end_lineno or 0, node.end_col_offset or 0) <= place]
        last = before[-1] if before else None
        if isinstance(last, ast.Constant | ast.UnaryOp):
            return last if self.stored[name.id] == 1 else None
        wanted = isinstance(last, ast.List | ast.Tuple | ast.Dict) or (
            isinstance(last, ast.Call) and _called(last) in CALLS
        )
        return last if wanted else None

    def value(self, node: ast.expr, path: str, depth: int) -> Any:
        self.budget -= 1
        if depth > MAX_DEPTH or self.budget < 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels, or more than {MAX_NODES} values")
        if isinstance(node, ast.Call) and _called(node) in CALLS:
            return {TAG: CALLS[_called(node)], **self.value(self.arguments(node, path), path, depth + 1)}
        if isinstance(node, ast.Dict):
            self.unread([item for key, item in zip(node.keys, node.values, strict=True) if key is None], path, "**")
            pairs = [(_key(key), item) for key, item in zip(node.keys, node.values, strict=True)]
            values = {k: self.value(v, f"{path}.{k}" if path else k, depth + 1) for k, v in pairs if k is not None}
            return {key: value for key, value in values.items() if value is not None}
        if isinstance(node, ast.List | ast.Tuple):
            values_ = [self.value(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.elts)]
            return [value for value in values_ if value is not None]
        if isinstance(node, ast.Name) and (found := self.known(node)) is not None:
            return self.value(found, path, depth + 1)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            self.notes.append(
                f"{path or 'a value'}: {ast.unparse(node)[:60]} is known to the program only, its default is written"
            )
            return None

    def arguments(self, call: ast.Call, path: str) -> ast.Dict:
        """Those that are known by name or by place; the others are noted."""
        places = _PLACES.get(_called(call), ())
        starred = next((i for i, node in enumerate(call.args) if isinstance(node, ast.Starred)), len(call.args))
        read = min(len(places), starred)
        given = dict(zip(places, call.args[:read], strict=False))
        given |= {k.arg: k.value for k in call.keywords if k.arg}
        self.unread(call.args[read:], path)
        self.unread([k.value for k in call.keywords if k.arg is None], path, "**")
        return ast.Dict([ast.Constant(name) for name in given], list(given.values()))

    def unread(self, nodes: Iterable[ast.expr], path: str, stars: str = "") -> None:
        """Note what is passed on whole."""
        for node in nodes:
            self.notes.append(f"{path or 'an argument'}: {stars}{ast.unparse(node)[:60]} is not read: write it out")


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _key(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _literals(tree: ast.Module) -> Iterator[ast.expr]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.Expr) and isinstance(node.value, ast.Dict | ast.List):
            yield node.value
