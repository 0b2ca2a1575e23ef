"""A flag against a recipe that sets the same is an error that says both values, and how to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.argv import translate
from sparsify.errors import InputError
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
WITH_VARIABLES = """
num_epochs: 4
init_lr: 0.01
decay: 0.1
training_modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {lr_func: linear, start_epoch: 0.0, end_epoch: 3.0, init_lr: eval(init_lr), final_lr: 0.001}
  - !SetLearningRateModifier {start_epoch: 3.0, learning_rate: 0.001}
  - !SetWeightDecayModifier {start_epoch: 0.0, weight_decay: eval(decay)}
"""
PRUNE = "pruning_modifiers:\n  - !ConstantPruningModifier {start_epoch: 0.0, params: __ALL_PRUNABLE__}\n"
COURSE = "linear 0.01 to 0.001 in epochs 0 to 3, then 0.001 from epoch 3"


def arguments(tmp_path: Path, *flags: str) -> Arguments[Any]:
    argv = ["--output_dir", str(tmp_path), "--use_cpu", "--do_train", *flags]
    return parse("token_classification", argv, frozenset(f[2:] for f in argv if f.startswith("--")))


def settled(tmp_path: Path, recipe: str, *flags: str) -> Arguments[Any]:
    args = arguments(tmp_path, *flags)
    settle(args, load_manager(RecipeArguments(recipe=recipe)))
    return args


def refused(tmp_path: Path, recipe: str, *flags: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        settled(tmp_path, recipe, *flags)
    return str(raised.value).splitlines()


def test_the_recipes_values_hold_and_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sparsify"):
        args = settled(tmp_path, WITH_VARIABLES)
    assert args.training.num_train_epochs == 4
    for text in ("the epochs: 4", f"the learning rate: {COURSE}", "the weight decay: 0.1 from epoch 0"):
        assert f"the recipe sets {text}" in caplog.text


def test_flags_that_say_the_same_are_fine(tmp_path: Path) -> None:
    flags = ("--num_train_epochs", "4", "--learning_rate", "0.01", "--weight_decay", "0.1", "--warmup_steps", "0")
    assert settled(tmp_path, RECIPE, *flags).training.num_train_epochs == 4


@pytest.mark.parametrize(
    ("flags", "both", "choose"),
    [
        (
            ("--num_train_epochs", "3"),
            "--num_train_epochs 3, but the recipe runs for 4 epochs: drop the flag to train 4, or ",
            "change the recipe with --recipe_args num_epochs=3",
        ),
        (
            ("--learning_rate", "1e-5"),
            f"--learning_rate 1e-05, but the recipe's starts at 0.01 ({COURSE}): drop the flag, or ",
            "change the recipe with --recipe_args init_lr=1e-05",
        ),
        (
            ("--lr_scheduler_type", "cosine"),
            f"--lr_scheduler_type cosine, but the recipe sets the learning rate at each step: {COURSE}: ",
            "drop the flag, or take LearningRateFunctionModifier (line 7) and SetLearningRateModifier (line 9) out of"
            " the recipe",
        ),
        (("--warmup_steps", "5"), "--warmup_steps 5", "but the recipe sets the learning rate at each step"),
        (
            ("--weight_decay", "0.2"),
            "--weight_decay 0.2, but the recipe sets 0.1 from epoch 0: drop the flag, or ",
            "change the recipe with --recipe_args decay=0.2",
        ),
    ],
)
def test_flags_that_say_otherwise(tmp_path: Path, flags: tuple[str, ...], both: str, choose: str) -> None:
    (line,) = refused(tmp_path, WITH_VARIABLES, *flags)
    assert line.startswith(both)
    assert choose in line


def test_all_of_them_at_once(tmp_path: Path) -> None:
    flags = ("--num_train_epochs", "3", "--learning_rate", "1e-5", "--warmup_steps", "5", "--weight_decay", "0.2")
    told = refused(tmp_path, WITH_VARIABLES, *flags)
    assert [line.split()[0] for line in told] == [
        "--num_train_epochs",
        "--warmup_steps",
        "--learning_rate",
        "--weight_decay",
    ]


@pytest.mark.parametrize(
    ("flags", "choose"),
    [
        (("--num_train_epochs", "3"), "or change the recipe's epochs"),
        (("--learning_rate", "1e-5"), "or change the recipe with --set training_modifiers[1].learning_rate=1e-05"),
        (("--weight_decay", "0.2"), "or change the recipe with --set training_modifiers[2].weight_decay=0.2"),
    ],
)
def test_no_variable_is_made_up(tmp_path: Path, flags: tuple[str, ...], choose: str) -> None:
    (line,) = refused(tmp_path, RECIPE, *flags)
    assert "recipe_args" not in line
    assert line.endswith(choose)


def test_what_is_offered_works(tmp_path: Path) -> None:
    flags = ("--learning_rate", "1e-5")
    (line,) = refused(tmp_path, RECIPE, *flags)
    args = arguments(tmp_path, *flags)
    edits = [line.split("--set ")[1]]
    settle(args, load_manager(RecipeArguments(recipe=RECIPE, set=edits)))
    assert args.training.learning_rate == 1e-5
    (line,) = refused(tmp_path, WITH_VARIABLES, *flags)
    settle(args, load_manager(RecipeArguments(recipe=WITH_VARIABLES, recipe_args=line.split("--recipe_args ")[1])))
    assert args.training.learning_rate == 1e-5


def test_a_variable_is_offered_only_where_it_is_clear_which(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "other: 4\n" + WITH_VARIABLES, "--num_train_epochs", "3")
    assert line.endswith("or change the recipe's epochs")


def test_several_weight_decays_are_all_said(tmp_path: Path) -> None:
    recipe = RECIPE + "  - !SetWeightDecayModifier {start_epoch: 2.0, weight_decay: 0.0}\n"
    (line,) = refused(tmp_path, recipe, "--weight_decay", "0.1")
    assert "but the recipe sets 0.1 from epoch 0, then 0 from epoch 2" in line


def test_the_old_name_of_warm_up_is_no_way_around(tmp_path: Path) -> None:
    flags = translate(["--warmup_ratio", "0.1"]).argv
    (line,) = refused(tmp_path, RECIPE, *flags)
    assert line.startswith("--warmup_steps 0.1, but the recipe sets the learning rate")


def test_a_recipe_that_says_nothing_leaves_the_flags_alone(tmp_path: Path) -> None:
    flags = ("--num_train_epochs", "7", "--learning_rate", "1e-5", "--warmup_steps", "5", "--weight_decay", "0.2")
    args = settled(tmp_path, PRUNE, *flags)
    assert (args.training.num_train_epochs, args.training.learning_rate) == (7, 1e-5)
    assert settled(tmp_path, PRUNE).training.num_train_epochs == 3


def test_one_shot_and_evaluation_train_nothing(tmp_path: Path) -> None:
    args = arguments(tmp_path, "--learning_rate", "1e-5")
    args.recipe.one_shot = True
    settle(args, load_manager(RecipeArguments(recipe=RECIPE)))
    args.recipe.one_shot, args.training.do_train = False, False
    settle(args, load_manager(RecipeArguments(recipe=RECIPE)))
    settle(args, None)
    assert args.training.learning_rate == 1e-5
