from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError, RecipeError
from sparsify.tasks.arguments import Arguments, RecipeArguments
from sparsify.tasks.consent import settle
from sparsify.tasks.parsing import parse
from sparsify.tasks.recipes import load_manager

RECIPE = """
training_modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 4.0}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: 0.01}
  - !SetWeightDecayModifier {start_epoch: 0.0, weight_decay: 0.1}
"""
PRUNE = "pruning_modifiers:\n  - !ConstantPruningModifier {start_epoch: 0.0, params: __ALL_PRUNABLE__}\n"
DISTILL = "distillation_modifiers:\n  - !DistillationModifier {hardness: 0.5, temperature: 2.0}\n"


def arguments(tmp_path: Path, *flags: str) -> Arguments[Any]:
    argv = ["--output_dir", str(tmp_path), "--use_cpu", "--do_train", *flags]
    return parse("token_classification", argv, frozenset(f[2:] for f in argv if f.startswith("--")))


def test_no_recipe(tmp_path: Path) -> None:
    assert load_manager(RecipeArguments()) is None
    assert load_manager(RecipeArguments(distill_teacher="disable")) is None
    for args, told in (
        (RecipeArguments(recipe_args="a=1"), "give --recipe too"),
        (RecipeArguments(distill_teacher="self"), "needs a recipe with a DistillationModifier"),
    ):
        with pytest.raises(InputError, match=told):
            load_manager(args)


def test_distilling_needs_a_teacher_or_disable(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="disable"):
        load_manager(RecipeArguments(recipe=RECIPE + DISTILL))
    disabled = load_manager(RecipeArguments(recipe=RECIPE + DISTILL, distill_teacher="disable"))
    assert disabled is not None
    assert not disabled.needs_teacher
    assert load_manager(RecipeArguments(recipe=RECIPE + DISTILL, one_shot=True)) is not None
    load_manager(RecipeArguments(recipe=RECIPE, distill_teacher="self"))
    assert "self is not used" in caplog.text


def test_mistakes_of_a_recipe_come_through() -> None:
    with pytest.raises(RecipeError):
        load_manager(RecipeArguments(recipe="a:\n  - !GMPruningModifierr {}\n"))


@pytest.mark.parametrize("options", [{}, {"one_shot": True}], ids=["train", "one shot"])
def test_a_modifier_that_is_not_built_is_refused_before_any_work(options: dict[str, bool]) -> None:
    pending = "modifiers:\n  - !SparseGPTModifier {sparsity: 0.5}\n"
    with pytest.raises(RecipeError, match="not available yet: SparseGPTModifier"):
        load_manager(RecipeArguments(recipe=pending, **options))


def test_fields_of_modifiers_are_set_from_the_command_line(tmp_path: Path) -> None:
    flags = (
        "--set",
        "SetLearningRateModifier.learning_rate=0.5",
        "training_modifiers[0].end_epoch=7",
        "--set",
        "SetWeightDecayModifier.weight_decay=0",
    )
    args = arguments(tmp_path, "--recipe", "unused", *flags)
    assert len(args.recipe.set) == 3
    args.recipe.recipe = RECIPE
    manager = load_manager(args.recipe)
    settle(args, manager)
    assert manager is not None
    assert args.training.num_train_epochs == 7
    assert "learning_rate: 0.5}" in manager.recipe.text
    with pytest.raises(InputError, match="give --recipe too"):
        load_manager(RecipeArguments(set=["a.b=1"]))
    with pytest.raises(RecipeError, match="did you mean SetLearningRateModifier"):
        load_manager(RecipeArguments(recipe=RECIPE, set=["SetLearningRateModifer.learning_rate=1"]))
