"""Foreign text to plain values."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

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


def test_arguments_by_place() -> None:
    text = "c = KnowledgeDistillationLossConfig(2.0, ['CE', 'KL'])\nWeightPruningConfig([{'pattern': '2:4'}], 0.5)\n"
    assert values(text, "x.py") == [
        {TAG: "KnowledgeDistillationLoss", "temperature": 2.0, "loss_types": ["CE", "KL"]},
        {TAG: "pruning", "pruning_configs": [{"pattern": "2:4"}], "target_sparsity": 0.5},
    ]


def test_what_is_passed_on_whole_is_noted() -> None:
    text = "WeightPruningConfig(*a, **b)\nWeightPruningConfig([{**c, 'end_step': 3}])\n"
    assert read(SourceText(text, "x.py", "x.py")).notes == [
        "an argument: *a is not read: write it out",
        "an argument: **b is not read: write it out",
        "pruning_configs[0]: **c is not read: write it out",
    ]


def test_a_call_given_by_name_stands_where_it_is_used_only() -> None:
    text = "k = KnowledgeDistillationLossConfig(temperature=3.0)\nd = DistillationConfig(criterion=k)\n"
    assert values(text, "x.py") == [
        {TAG: "distillation", "criterion": {TAG: "KnowledgeDistillationLoss", "temperature": 3.0}}
    ]


def test_a_variable_is_what_was_last_assigned_to_it_before() -> None:
    text = "c = [{'end_step': 1}]\nc = [{'end_step': 2}]\nc = WeightPruningConfig(\n    c)\nc = [{'end_step': 3}]\n"
    assert values(text, "x.py") == [{TAG: "pruning", "pruning_configs": [{"end_step": 2}]}]


def test_numbers_by_name_count_where_nothing_else_sets_them() -> None:
    text = "t = 0.7\nn = 1\nfor n in range(9): pass\nWeightPruningConfig(target_sparsity=t, end_step=n)\n"
    found = read(SourceText(text, "x.py", "x.py"))
    assert found.values == [{TAG: "pruning", "target_sparsity": 0.7}]
    assert found.notes == ["end_step: n is known to the program only, its default is written"]


def test_a_number_that_is_too_long_has_its_place() -> None:
    with pytest.raises(RecipeError, match=r"x\.yaml:2:4: a number of 500 digits"):
        values(f"a: 1\nb: {'9' * 500}\n")


def test_characters_that_json_writes_as_two(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"op_names": ["\N{GRINNING FACE}"], "end_step": 3}))
    assert "\N{GRINNING FACE}" in convert(file_source(path)).text


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
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        file_source("~nobody-of-this-name/absent.yaml")


_PART = st.sampled_from(
    ["pruning", "approach", "weight_compression", "pruners", "!Pruner ", "prune_type", "distillation", "criterion",
     "KnowledgeDistillationLoss", "quantization", "target_sparsity", "pattern", "end_step", ": ", "\n  ", "- ", "{", "}",
     "[", "]", ",", "0.5", "'2:4'", "mha", "names", "\n", "WeightPruningConfig(", ")", "=", "layer_mappings", "train"]
)  # fmt: skip


@given(st.lists(_PART, max_size=30).map("".join), st.sampled_from(["x.yaml", "x.py"]))
def test_only_recipe_errors_leave(text: str, file: str) -> None:
    with contextlib.suppress(RecipeError):
        assert convert(SourceText(text, file, file)).text.startswith("# Converted from")
