"""Nodes to plain values: ``eval(...)`` against variables that may use each other in any order."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

from sparsify.errors import Problem
from sparsify.recipe.document import Section
from sparsify.recipe.expressions import ExpressionProblem, evaluate, expression_in, names_in
from sparsify.recipe.mappings import merged, placeholder
from sparsify.recipe.nodes import MAX_DEPTH, MAX_NODES, MappingNode, Mark, Node, ScalarNode, SequenceNode, problem
from sparsify.recipe.scalars import scalar

Path = tuple[Any, ...]
_PLAIN_TAGS = {None, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
FAILED = object()
"""Stands for a value that a reported problem kept from being known."""


class Evaluator:
    """Turns nodes into values; problems are collected, never raised.

    Args:
        text: Recipe text, to place errors inside expressions.
        problems: Where problems go.
        expressions: Whether ``eval(...)`` is evaluated (else it stays text).
        warnings: Where repeated keys go, whose last value then holds; None: they are problems.
    """

    def __init__(
        self, text: str, problems: list[Problem], expressions: bool = True, warnings: list[Problem] | None = None
    ) -> None:
        self.text, self.problems, self.expressions, self.warnings = text, problems, expressions, warnings
        self.budget = MAX_NODES

    def variables(self, section: Section, outer: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """Own variables of ``section``, evaluated in the order that their use of each other asks for."""
        known = {**outer, **dict.fromkeys(section.variables)}
        graph = {
            name: [used for used in self._used(node, known) if used in section.variables]
            for name, node in section.variables.items()
        }
        order, cycles = _order(graph)
        values: dict[str, Any] = dict.fromkeys(section.variables, FAILED)
        circular = {name for cycle in cycles for name in cycle}
        for cycle in cycles:
            message = f"variables use each other in a circle: {' -> '.join(cycle)}"
            self._report(section.variables[cycle[0]].mark, message, path + cycle[0])
        for name in order:
            if name not in circular:
                values[name] = self.value(section.variables[name], ChainMap(values, dict(outer)), path + name)
        return values

    def fields(self, node: MappingNode, scope: Mapping[str, Any], path: str) -> tuple[dict[str, Any], dict[Path, Mark]]:
        """Evaluated fields of a modifier, and the place of every part of them."""
        marks: dict[Path, Mark] = {}
        value = self._mapping(node, scope, path, (), marks, names_only=True)
        return value, marks

    def value(
        self, node: Node, scope: Mapping[str, Any], path: str, at: Path = (), marks: dict[Path, Mark] | None = None
    ) -> Any:
        """Evaluated value of ``node``; ``marks`` takes the place of each part by its path from ``at`` on."""
        if marks is not None:
            marks[at] = node.mark
            if name := placeholder(node):
                hint = f"put a value in its place, or give one:  --recipe_args {name}=..."
                self._report(node.mark, f"{{{name}}} is a placeholder of a template, not a value", path, hint)
                return FAILED
        if isinstance(node, ScalarNode):
            return self._scalar(node, scope, path)
        if node.tag not in _PLAIN_TAGS:
            self._report(node.mark, f"tag {node.tag!r} cannot stand here", path, "modifiers stand in lists only")
            return FAILED
        if isinstance(node, SequenceNode):
            items = [self.value(v, scope, f"{path}[{i}]", (*at, i), marks) for i, v in enumerate(node.items)]
            return FAILED if any(item is FAILED for item in items) else items
        if isinstance(node, MappingNode):
            return self._mapping(node, scope, path, at, marks)
        raise TypeError(type(node).__name__)

    def _mapping(
        self,
        node: MappingNode,
        scope: Mapping[str, Any],
        path: str,
        at: Path,
        marks: dict[Path, Mark] | None,
        names_only: bool = False,
    ) -> Any:
        result: dict[Any, Any] = {}
        seen: dict[Any, Mark] = {}
        failed = False
        for key_node, value_node in merged(node):
            key = self._key(key_node, scope, path, names_only)
            if key is FAILED or (key in seen and not self._repeated(key, key_node, seen[key], path)):
                failed = True
                continue
            seen[key] = key_node.mark
            if marks is not None:
                marks[(*at, key, "__key__")] = key_node.mark
            value = self.value(value_node, scope, f"{path}.{key}" if path else str(key), (*at, key), marks)
            failed |= value is FAILED
            result[key] = value
        return FAILED if failed else result

    def _repeated(self, key: Any, node: Node, first: Mark, path: str) -> bool:
        """Report a repeated key; whether it is passed over, its last value holding as with other YAML readers."""
        if self.warnings is None or not isinstance(key, str):
            self._report(node.mark, f"duplicate key {key!r}", path, f"first given in line {first.line}")
            return False
        message = f"{key} is given twice: this value holds, not that of line {first.line}"
        self.warnings.append(problem(node.mark, message, f"{path}.{key}" if path else key))
        return True

    def _key(self, node: Node, scope: Mapping[str, Any], path: str, names_only: bool) -> Any:
        if not isinstance(node, ScalarNode):
            self._report(node.mark, "a list or mapping cannot be a key", path)
            return FAILED
        value = self._scalar(node, scope, path)
        if isinstance(value, list | dict) or (names_only and value is not FAILED and not isinstance(value, str)):
            self._report(node.mark, f"{node.text!r} cannot be a key here", path)
            return FAILED
        return value

    def _scalar(self, node: ScalarNode, scope: Mapping[str, Any], path: str) -> Any:
        try:
            value = scalar(node)
            expression = expression_in(value) if self.expressions and isinstance(value, str) else None
        except ValueError as error:
            cut = node.plain and node.text.count("(") > node.text.count(")")
            hint = "inside [...] and {...} quote an expression that holds a comma: 'eval(max(1, 2))'" if cut else None
            self._report(node.mark, str(error), path, hint)
            return FAILED
        if expression is None:
            return value
        if any(scope.get(name) is FAILED for name in names_in(expression, scope)):
            return FAILED
        result = evaluate(expression, scope)
        if isinstance(result, ExpressionProblem):
            self._report(self._inside(node, expression, result.offset), result.message, path, result.hint)
            return FAILED
        try:
            return self._copied(result)
        except OverflowError as error:
            self._report(node.mark, str(error), path)
            return FAILED

    def _copied(self, value: Any, level: int = 0) -> Any:
        """Own copy of a variable's value, within the bounds that hold for all that a recipe expands to."""
        self.budget -= 1
        if self.budget < 0:
            raise OverflowError(f"more than {MAX_NODES} values, variables expanded")
        if level > MAX_DEPTH:
            raise OverflowError(f"nested deeper than {MAX_DEPTH} levels, variables expanded")
        if isinstance(value, list):
            return [self._copied(item, level + 1) for item in value]
        if isinstance(value, dict):
            return {key: self._copied(item, level + 1) for key, item in value.items()}
        return value

    def _inside(self, node: ScalarNode, expression: str, offset: int) -> Mark:
        """Place of a character of an expression, where the text holds it as one piece."""
        index = self.text.find(f"eval({expression})", node.start, node.end)
        if index < 0 or "\n" in expression:
            return node.mark
        lead = self.text[node.start : index]
        if "\n" in lead:
            return node.mark
        return Mark(node.mark.file, node.mark.line, node.mark.column + len(lead) + len("eval(") + offset)

    def _used(self, node: Node, known: Mapping[str, Any]) -> Iterator[str]:
        """Variables that expressions anywhere in ``node`` use."""
        if isinstance(node, ScalarNode):
            try:
                expression = expression_in(node.text)
            except ValueError:
                return
            yield from sorted(names_in(expression, known)) if expression is not None else ()
        elif isinstance(node, SequenceNode):
            for item in node.items:
                yield from self._used(item, known)
        elif isinstance(node, MappingNode):
            for pair in node.pairs:
                for part in pair:
                    yield from self._used(part, known)

    def _report(self, mark: Mark, message: str, path: str | None = None, hint: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(problem(mark, message, path or None, hint))


def _order(graph: Mapping[str, list[str]]) -> tuple[list[str], list[list[str]]]:
    """Names with what they use before them, and the circles found (first name repeated at the end)."""
    done: set[str] = set()
    order: list[str] = []
    cycles: list[list[str]] = []
    for root in graph:
        trail: dict[str, Iterator[str]] = {} if root in done else {root: iter(graph[root])}
        while trail:
            name, rest = next(reversed(trail.items()))
            used = next(rest, None)
            if used is None:
                trail.popitem()
                done.add(name)
                order.append(name)
            elif used in trail:
                names = list(trail)
                cycles.append([*names[names.index(used) :], used])
            elif used not in done:
                trail[used] = iter(graph[used])
    return order, cycles
