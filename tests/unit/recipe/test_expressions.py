"""The arithmetic of ``eval(...)``."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.recipe.expressions import MAX_LENGTH, ExpressionProblem, evaluate, expression_in, names_in, near


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-1", -1),
        ("+2", 2),
        ("-n ** 2", -9),
        ("7 // 2", 3),
        ("7 % 4", 3),
        ("1 / 4", 0.25),
        ("2 ** -1", 0.5),
        ("1e-4 * 2", 2e-4),
        ("max(1, n, 2)", 3),
        ("min(n, 0.5)", 0.5),
        ("round(n / 7, 2)", 0.43),
        ("int(n / 2)", 1),
        ("float(n)", 3.0),
        ("abs(-n)", 3),
        ("  n  ", 3),
        ("flag * 2", 2),
    ],
)
def test_value(expression: str, value: float) -> None:
    assert evaluate(expression, {"n": 3, "flag": True}) == value


@pytest.mark.parametrize("value", [["a", 1], "text", None, {"a": 1}, True])
def test_a_name_alone_gives_a_value_of_any_type(value: Any) -> None:
    assert evaluate("x", {"x": value}) is value


@pytest.mark.parametrize(
    ("expression", "words", "offset"),
    [
        ("", "empty", 0),
        ("1 +", "not an arithmetic expression", 0),
        ("nun_epochs * 2", "unknown variable 'nun_epochs'", 0),
        ("2 * nun_epochs", "unknown variable 'nun_epochs'", 4),
        ("  2 * nun_epochs", "unknown variable 'nun_epochs'", 6),
        ("1 + x", "cannot calculate with 'x', a list", 4),
        ("1 / 0", "division by zero", 0),
        ("0 ** -1", "division by zero", 0),
        ("9**9**9", "too large", 0),
        ("10.0 ** 400", "too large", 0),
        ("1e308 * 10", "no finite number", 0),
        ("(-8) ** 0.5", "no finite number", 0),
        ("round(1, 10**9)", "round to more than", 0),
        ("round(1, 0.5)", "float", 0),
        ("max()", "at least 1 argument", 0),
        ("max(1, key=2)", "named arguments", 0),
        ("open('x')", "unknown function 'open'", 0),
        ("().__class__", "Attribute is not allowed", 0),
        ("n.real", "Attribute is not allowed", 0),
        ("(lambda: 1)()", "unknown function", 0),
        ("[1][0]", "Subscript is not allowed", 0),
        ("1 if n else 2", "IfExp is not allowed", 0),
        ("n > 1", "Compare is not allowed", 0),
        ("'a' * 9", "is no number in eval", 0),
        ("1j", "is no number in eval", 0),
        ("~1", "UnaryOp is not allowed", 0),
        ("1 << 9", "BinOp is not allowed", 0),
        ("max(*x)", "Starred is not allowed", 4),
        ("1\x00", "not an arithmetic expression", 0),
        ("(" * 400 + "1" + ")" * 400, "not an arithmetic expression", 0),
        ("-" * 200 + "1", "nested deeper", 61),
        ("1" * (MAX_LENGTH + 1), "characters", 0),
    ],
)
def test_what_is_wrong_comes_back_with_its_place(expression: str, words: str, offset: int) -> None:
    result = evaluate(expression, {"num_epochs": 3, "n": 3, "x": [1]})
    assert isinstance(result, ExpressionProblem)
    assert words in result.message
    assert result.offset == offset


def test_near_names_are_hinted() -> None:
    result = evaluate("nun_epochs + 1", {"num_epochs": 3, "lr": 1})
    assert isinstance(result, ExpressionProblem)
    assert result.hint == "did you mean num_epochs?"
    assert near("zzz", ["b", "a"]) == "variables: a, b"
    assert near("zzz", []) == "there are no variables"


def test_offset_counts_characters_not_bytes() -> None:
    result = evaluate("é + zz", {"é": 1})
    assert isinstance(result, ExpressionProblem)
    assert result.offset == 4


def test_expression_in() -> None:
    assert expression_in("eval(a + 1)") == "a + 1"
    assert expression_in(" eval(a) ") == "a"
    assert expression_in("re:.*retrieval(x)") is None
    assert expression_in("5") is None
    with pytest.raises(ValueError, match="whole value"):
        expression_in("eval(a) + 1")


def test_names_in() -> None:
    assert names_in("max(a, b) + max", {"a"}) == {"a", "b", "max"}
    assert names_in("my-name", {"my-name"}) == {"my-name"}
    assert names_in("1 +", {"a"}) == set()


numbers = st.integers(-50, 50) | st.floats(-50, 50, allow_nan=False)
operators = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod}


@given(numbers, numbers, st.sampled_from(sorted(operators)))
def test_agrees_with_python(a: float, b: float, sign: str) -> None:
    try:
        expected = operators[sign](a, b)
    except ZeroDivisionError:
        assert isinstance(evaluate(f"a {sign} b", {"a": a, "b": b}), ExpressionProblem)
        return
    if math.isfinite(expected):
        assert evaluate(f"a {sign} b", {"a": a, "b": b}) == expected


@given(st.text(alphabet="ab01.+-*/%() ,maxroundint'[]\n", max_size=60) | st.text(max_size=30))
def test_never_raises_and_gives_finite_numbers(expression: str) -> None:
    result = evaluate(expression, {"a": 2, "b": 1e300})
    assert isinstance(result, ExpressionProblem) or math.isfinite(result)
    if isinstance(result, ExpressionProblem):
        assert 0 <= result.offset <= len(expression)
