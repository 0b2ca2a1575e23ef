"""Module patterns as parameter selectors: what they match, against ``re.search`` over module names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.recipe.convert.names import is_everything, selector, specifics

MODULES = ["encoder.layer.0.output.dense", "encoder.layer.0.attention.output.dense", "layer1.0.conv1", "fc", "head.fc"]


def selects(pattern: str, module: str) -> bool:
    return re.match(selector(pattern).removeprefix("re:"), f"{module}.weight") is not None


@pytest.mark.parametrize(
    "pattern",
    [".*output", "output", "layer.0", "^encoder", "fc$", "^fc$", "conv[0-9]$", "a|fc$|conv1", "weight", r"\d\.conv",
     ".*dense.*", "^.*fc", "[$]", r"\$", "", ".*", "(?i)FC", "(?i)^FC$", r"fc\Z", r"(?is)conv1|DENSE\Z"],
)  # fmt: skip
def test_selects_what_search_finds(pattern: str) -> None:
    for module in MODULES:
        assert selects(pattern, module) == bool(re.search(pattern, module)), module


@given(st.text("abc.*|$^()[]?", max_size=8), st.sampled_from(["a", "ab.c", "c.b.a", "bca", "cc.ab"]))
def test_any_pattern_selects_what_search_finds(pattern: str, module: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        return
    assert selects(pattern, module) == bool(re.search(pattern, module))


def test_biases_are_never_selected() -> None:
    assert not re.match(selector("fc").removeprefix("re:"), "fc.bias")


def test_the_more_specific_patterns() -> None:
    assert specifics([], ["query"]) == ["query"]
    assert specifics(["encoder"], ["encoder.layer.0", "decoder"]) == ["encoder.layer.0"]
    assert specifics([".*output"], [".*query", ".*output"]) == []
    assert specifics(["query"], []) == []


def test_no_names_are_all_names() -> None:
    assert is_everything([])
    assert is_everything([".*"])
    assert not is_everything([".*output"])
