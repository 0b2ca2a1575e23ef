"""Names that dict-style recipes have for fields of MagnitudePruningModifier."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.pruning import MagnitudePruningModifier


def magnitude(**fields: Any) -> MagnitudePruningModifier:
    common = {"init_sparsity": 0.0, "final_sparsity": 0.5, "start_epoch": 0.0, "end_epoch": 4.0}
    made = MagnitudePruningModifier(**(common | fields))
    made.place("default/MagnitudePruningModifier/0", 0.0)
    return made


@pytest.mark.parametrize("name", ["linear", "cubic"])
def test_update_scheduler_is_inter_func(name: str) -> None:
    core, tag = magnitude(update_scheduler=name), magnitude(inter_func=name)
    assert [core.values(e) for e in (0.0, 1.0, 3.0)] == [tag.values(e) for e in (0.0, 1.0, 3.0)]
    assert core.unavailable is None


@pytest.mark.parametrize("name", ["polynomial_decay", "polynomial", "multi_step", "calc(x * 2)"])
def test_schedulers_that_are_not_built_validate_and_are_named(name: str) -> None:
    modifier = magnitude(update_scheduler=name, scheduler_args={"exponent": 3})
    assert modifier.unavailable == f"MagnitudePruningModifier with update_scheduler {name}"


def test_mask_structure_is_mask_type() -> None:
    assert magnitude(mask_structure="2:4").mask_type == "2:4"
    with pytest.raises(ValidationError, match="gives exactly"):
        magnitude(mask_structure="2:4", final_sparsity=0.7)


def test_apply_globally_is_one_threshold() -> None:
    assert (magnitude().scope, magnitude(apply_globally=True).scope) == ("layer", "global")


@pytest.mark.parametrize(
    ("lines", "told", "line"),
    [
        ("mask_structure: bogus", "mask_structure: unknown mask type 'bogus'", 7),
        ("mask_type: block4\n    mask_structure: block4", "'mask_structure' stands here under two names", 8),
        ("update_scheduler: cubik", "update_scheduler: linear, cubic", 7),
        ("update_scheduler: cubic\n    inter_func: cubic", "both say how sparsity grows", 7),
    ],
)
def test_mistakes_are_placed(lines: str, told: str, line: int) -> None:
    fields = "init_sparsity: 0.0\n    final_sparsity: 0.5\n    start_epoch: 0.0\n    end_epoch: 4.0"
    with pytest.raises(RecipeError) as raised:
        load_recipe(f"modifiers:\n  - !MagnitudePruningModifier\n    {fields}\n    {lines}\n")
    (problem,) = raised.value.problems
    assert told in problem.message
    assert problem.line == line


@pytest.mark.parametrize(
    "name", ["MagnitudePruningModifier", "GlobalMagnitudePruningModifier", "LegacyPruningModifier"]
)
def test_fields_that_once_chose_another_method(name: str) -> None:
    common = "init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0, end_epoch: 4, params: [x]"
    text = f"modifiers:\n  - !{name} {{{common}, phased: false, score_type: magnitude}}\n"
    assert load_recipe(text).modifiers[0].unavailable is None
    with pytest.raises(RecipeError, match="ACDCPruningModifier"):
        load_recipe(text.replace("phased: false", "phased: true"))
    with pytest.raises(RecipeError, match="another score has a modifier of its own"):
        load_recipe(text.replace("score_type: magnitude", "score_type: movement"))
