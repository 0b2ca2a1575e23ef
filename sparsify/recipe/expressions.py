"""The arithmetic inside ``eval(...)``: evaluated over Python's syntax tree, never by Python's eval."""

from __future__ import annotations

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 1000
_MAX_DEPTH = 60
_MAX_BITS = 1024
_MAX_ROUNDING = 300

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (abs, float, int, max, min, round)}
_ALLOWED = f"allowed: numbers, variables, + - * / // ** %, parentheses, {', '.join(_FUNCTIONS)}"


@dataclass(frozen=True, slots=True)
class ExpressionProblem:
    """Why an expression has no value: what, at which character of it, and what to do."""

    message: str
    offset: int = 0
    hint: str | None = None


class _Stop(Exception):
    def __init__(self, message: str, node: ast.AST | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.node, self.hint = node, hint


def expression_in(text: str) -> str | None:
    """What stands inside ``eval(...)`` when that is the whole of ``text``; None when ``text`` does not begin so.

    Raises:
        ValueError: It begins with ``eval(`` but has no closing parenthesis at its end.
    """
    body = text.strip()
    if not body.startswith("eval("):
        return None
    if not body.endswith(")"):
        raise ValueError(f"eval(...) must be the whole value, got {body!r}")
    return body[len("eval(") : -1]


def names_in(expression: str, known: Iterable[str]) -> set[str]:
    """Variables that ``expression`` uses (none if it is malformed)."""
    if expression.strip() in known:
        return {expression.strip()}
    try:
        tree = _parse(expression)
    except _Stop:
        return set()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any | ExpressionProblem:
    """Value of ``expression``: of a variable of any type if it is just its name, else a finite number.

    Never raises; what is wrong comes back as an ``ExpressionProblem``.
    """
    name = expression.strip()
    if name in variables:
        return variables[name]
    try:
        return _visit(_parse(expression), variables, 0)
    except _Stop as stop:
        return ExpressionProblem(str(stop), _offset(expression, stop.node), stop.hint)


def near(name: str, known: Iterable[str], kind: str = "variables") -> str:
    """Hint with the nearest of the ``known`` names, or all of them."""
    names = sorted(map(str, known))
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    return f"{kind}: {', '.join(names)}" if names else f"there are no {kind}"


def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_LENGTH:
        raise _Stop(f"expression of {len(expression)} characters, at most {MAX_LENGTH} are read")
    body = expression.strip()
    if not body:
        raise _Stop("empty expression", hint="put a number, a variable or arithmetic between the parentheses")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _Stop(f"not an arithmetic expression: {body!r}", hint=_ALLOWED) from error


def _offset(expression: str, node: ast.AST | None) -> int:
    lead = len(expression) - len(expression.lstrip())
    if not isinstance(node, ast.expr) or node.lineno != 1:
        return lead
    return lead + len(expression[lead:].encode()[: node.col_offset].decode(errors="ignore"))


def _visit(node: ast.expr, variables: Mapping[str, Any], depth: int) -> Number:
    if depth > _MAX_DEPTH:
        raise _Stop(f"expression nested deeper than {_MAX_DEPTH} levels", node)
    match node:
        case ast.Constant(value=int() | float() as number):
            return _checked(lambda: number, node)
        case ast.Name():
            return _variable(node, variables)
        case ast.UnaryOp() if type(node.op) in _UNARY:
            operand = _visit(node.operand, variables, depth + 1)
            return _checked(lambda: _UNARY[type(node.op)](operand), node)
        case ast.BinOp() if type(node.op) in _BINARY:
            left, right = (_visit(part, variables, depth + 1) for part in (node.left, node.right))
            if isinstance(node.op, ast.Pow):
                _bound_power(left, right, node)
            return _checked(lambda: _BINARY[type(node.op)](left, right), node)
        case ast.Call():
            return _call(node, variables, depth)
    what = f"{node.value!r} is no number" if isinstance(node, ast.Constant) else f"{type(node).__name__} is not allowed"
    raise _Stop(f"{what} in eval", node, _ALLOWED)


def _variable(node: ast.Name, variables: Mapping[str, Any]) -> Number:
    if node.id not in variables:
        hint = near(node.id, variables)
        if not hint.startswith("did you mean"):
            hint = f"define it, or give it:  --recipe_args {node.id}=...  ({hint})"
        raise _Stop(f"unknown variable {node.id!r} in eval", node, hint)
    value = variables[node.id]
    if not isinstance(value, int | float):
        kind = "null" if value is None else type(value).__name__
        raise _Stop(f"cannot calculate with {node.id!r}, a {kind}", node, f"eval({node.id}) alone gives it as it is")
    return _checked(lambda: value, node)


def _call(node: ast.Call, variables: Mapping[str, Any], depth: int) -> Number:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in _FUNCTIONS:
        raise _Stop(f"unknown function {name!r} in eval", node, near(name, _FUNCTIONS, "functions"))
    if node.keywords:
        raise _Stop(f"{name} takes no named arguments", node)
    arguments = [_visit(argument, variables, depth + 1) for argument in node.args]
    if name in ("max", "min") and len(arguments) == 1:
        return arguments[0]
    if name == "round" and any(abs(digits) > _MAX_ROUNDING for digits in arguments[1:]):
        raise _Stop(f"round to more than {_MAX_ROUNDING} digits", node)
    return _checked(lambda: _FUNCTIONS[name](*arguments), node)


def _bound_power(base: Number, exponent: Number, node: ast.AST) -> None:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and exponent > 1 and int(base).bit_length() * exponent > 2 * _MAX_BITS:
        raise _Stop("the result of ** is too large", node)


def _checked(compute: Callable[[], Any], node: ast.AST) -> Number:
    try:
        value = compute()
    except ZeroDivisionError as error:
        raise _Stop("division by zero", node) from error
    except OverflowError as error:
        raise _Stop("the result is too large", node) from error
    except (TypeError, ValueError) as error:
        raise _Stop(f"{error}", node) from error
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return value
    raise _Stop("the result is no finite number of ordinary size", node)
