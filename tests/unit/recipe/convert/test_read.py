"""Foreign text to plain values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.recipe.convert import convert, file_source
from sparsify.recipe.convert.read import read
from sparsify.recipe.convert.values import TAG
from sparsify.recipe.nodes import SourceText


def values(text: str, file: str = "x.yaml") -> list[object]:
    return read(SourceText(text, file, file)).values


def test_yaml_keeps_foreign_tags() -> None:
    assert values("a: !Pruner {b: 1e-4}\n") == [{"a": {TAG: "Pruner", "b": 1e-4}}]


def test_python_calls_and_names() -> None:
    text = "local = [{'pattern': '2:4'}]\nc = WeightPruningConfig(local, end_step=4 * args.n)\n"
    found = read(SourceText(text, "x.py", "x.py"))
    assert found.values == [{TAG: "pruning", "pruning_configs": [{"pattern": "2:4"}]}]
    assert found.notes == ["end_step: 4 * args.n is known to the program only, its default is written"]


def test_nothing_is_run() -> None:
    found = read(SourceText("WeightPruningConfig(start_step=__import__('os').getpid())", "x.py", "x.py"))
    assert found.values == [{TAG: "pruning"}]
    assert len(found.notes) == 1


def test_literals_in_a_text_that_is_no_yaml() -> None:
    assert values("pruning_configs=[\n  {'a': None, 'b': (1, 2)},  # c\n]\n") == [[{"b": [1, 2]}]]


def test_references_that_multiply_are_bounded() -> None:
    lines = ["a0 = [1, 1]"] + [f"a{i} = [a{i - 1}, a{i - 1}]" for i in range(1, 40)]
    with pytest.raises(RecipeError, match="ValueError"):
        values("\n".join([*lines, "WeightPruningConfig(pruning_configs=a39)"]), "x.py")


@pytest.mark.parametrize("text", ["", "word", "1", "[1, 2]", "a: b\n", "- - - x\n", "tuning: {}\n", "def f(:\n"])
def test_no_configuration_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(RecipeError):
        convert(SourceText(text, "x.yaml", "x.yaml"))


def test_files_that_cannot_be_read(tmp_path: object) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        file_source(f"{tmp_path}/absent.yaml")


_PART = st.sampled_from(
    ["pruning", "approach", "weight_compression", "pruners", "!Pruner ", "prune_type", "distillation", "criterion",
     "KnowledgeDistillationLoss", "quantization", "target_sparsity", "pattern", "end_step", ": ", "\n  ", "- ", "{", "}",
     "[", "]", ",", "0.5", "'2:4'", "mha", "names", "\n", "WeightPruningConfig(", ")", "=", "layer_mappings", "train"]
)  # fmt: skip


@given(st.lists(_PART, max_size=30).map("".join), st.sampled_from(["x.yaml", "x.py"]))
def test_only_recipe_errors_leave(text: str, file: str) -> None:
    with contextlib.suppress(RecipeError):
        assert convert(SourceText(text, file, file)).text.startswith("# Converted from")
