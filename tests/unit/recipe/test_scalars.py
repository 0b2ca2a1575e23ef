"""How single values are read and written."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.recipe.nodes import ScalarNode, SourceText, compose
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.scalars import resolve, scalar, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e4", 1e4),
        ("1.5e-4", 1.5e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1", -1),
        ("+7", 7),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
    ],
)
def test_read(text: str, value: Any) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "No", "1:30", "1.1.0", "2:4", "1_000", "None", "2020-01-01", "e5", "."]
)
def test_words_stay_words(text: str) -> None:
    assert resolve(text) == text


def test_nan() -> None:
    value = resolve(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_too_many_digits() -> None:
    with pytest.raises(ValueError, match="digits"):
        resolve("9" * 5000)


@pytest.mark.parametrize(
    ("text", "value"),
    [("!!float 1", 1.0), ("!!str 1", "1"), ("! 1", "1"), ("'1'", "1"), ("!!int 3", 3), ("!!null ''", None)],
)
def test_tags_and_quotes(text: str, value: Any) -> None:
    node = compose(SourceText(text + "\n", "", ""))
    assert isinstance(node, ScalarNode)
    assert scalar(node) == value
    assert type(scalar(node)) is type(value)


@pytest.mark.parametrize("text", ["!!int x", "!!binary aGk=", "!!python/name:os.system ''", "!!bool 1", "!Foo 1"])
def test_refused_tags(text: str) -> None:
    node = compose(SourceText(text + "\n", "", ""))
    assert isinstance(node, ScalarNode)
    with pytest.raises(ValueError, match=r"tag|is no"):
        scalar(node)


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    leaves.filter(lambda v: not (isinstance(v, str) and v.strip().startswith("eval("))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_written_values_read_back(value: Any) -> None:
    text = f"x: {written(value)}\nmodifiers: [!A]\n"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return
    recipe = Recipe.load(text)
    assert repr(recipe.variables["x"]) == repr(value)


def test_unwritable() -> None:
    with pytest.raises(ValueError, match="object"):
        written([object()])
