"""Distillation flags become the recipes that they stand for, alone and beside pruning."""

from __future__ import annotations

from typing import Any

import pytest

from sparsify.cli.argv import translate
from sparsify.cli.train_help import help_text
from sparsify.errors import InputError
from sparsify.export.task import task_by_name
from sparsify.recipe.recipe import Recipe
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.catalog import SPELLINGS
from sparsify.tasks.compiled import compile_flags
from sparsify.tasks.distillation_arguments import FLAGS
from sparsify.tasks.parsing import parse
from sparsify.tasks.recipes import load_manager

BASE = "--output_dir out --do_train --use_cpu --num_train_epochs 2"
DISTIL = f"{BASE} --apply_distillation --teacher_model_name_or_path some/teacher"


def compiled(command: str, task: str = "token_classification") -> Arguments[Any]:
    given = translate(command.split())
    args = parse(task, given.argv, given.flags)
    compile_flags(args, task_by_name(task).outputs)
    return args


def entries(command: str) -> dict[str, dict[str, Any]]:
    text = compiled(command).recipe.recipe
    assert text is not None
    return {spec.type: spec.fields for spec in Recipe.from_text(text).modifiers}


@pytest.mark.parametrize("task", SPELLINGS)
def test_every_task_takes_them(task: str) -> None:
    args = compiled(DISTIL, task)
    manager = load_manager(args.recipe)
    assert manager is not None
    assert manager.needs_teacher
    assert (manager.max_epochs, args.recipe.distill_teacher) == (2, "some/teacher")
    assert all(f"--{name}" in help_text(task) for name in FLAGS)


def test_defaults_are_the_examples() -> None:
    found = entries(DISTIL)["DistillationModifier"]
    assert found == {"hardness": 0.5, "temperature": 1.0, "comparison": "cross_entropy"}


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("--loss_types CE KL --loss_weights 0 1 --temperature 2", {"hardness": 1.0, "temperature": 2.0}),
        ("--loss_types ce mse", {"hardness": 0.5, "temperature": 1.0, "comparison": "squared_error"}),
        ("--loss_types CE KL --loss_weights 1 3", {"hardness": 0.75, "temperature": 1.0}),
    ],
)
def test_losses_weights_and_temperature(flags: str, wanted: dict[str, Any]) -> None:
    assert entries(f"{DISTIL} {flags}")["DistillationModifier"] == wanted


def test_weights_that_do_not_add_up_are_said() -> None:
    text = compiled(f"{DISTIL} --loss_weights 1 3").recipe.recipe
    assert "weights 1 and 3: here they add up to 1" in str(text)


def test_beside_pruning_it_is_one_recipe() -> None:
    found = entries(f"{DISTIL} --apply_pruning --target_sparsity 0.5")
    assert list(found) == ["EpochRangeModifier", "WeightPruningModifier", "DistillationModifier"]


def test_the_hidden_state_beside_the_logits_keeps_their_loss() -> None:
    both = entries(f"{DISTIL} --distill_loss_weight 2")
    assert list(both)[-2:] == ["DistillationModifier", "HiddenStateDistillationModifier"]
    assert both["HiddenStateDistillationModifier"] == {"gain": 2.0, "task_weight": 1.0}
    alone = entries(f"{BASE} --distill_loss_weight 2")
    assert alone["HiddenStateDistillationModifier"] == {"gain": 2.0, "task_weight": 0.0}


def test_who_teaches() -> None:
    assert compiled(f"{BASE} --apply_distillation --distill_teacher self").recipe.distill_teacher == "self"
    assert compiled(f"{BASE} --distill_loss_weight 2").recipe.distill_teacher == "self"
    nobody = compiled(f"{BASE} --apply_distillation")
    with pytest.raises(InputError, match="no teacher was named"):
        load_manager(nobody.recipe)


def test_flags_that_do_nothing_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        args = compiled(f"{BASE} --temperature 2 --loss_weights 0 1")
    assert args.recipe.recipe is None
    assert "without --apply_distillation --loss_weights, --temperature has no effect" in caplog.text


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--loss_weights 1", "two numbers, of the labels and of the teacher, got 1"),
        ("--loss_weights 0 0", "two numbers"),
        ("--loss_weights -1 2", "two numbers"),
        ("--loss_types CE", "takes two names"),
        ("--loss_types CE L1", r"the teacher's \(CE, KL, MSE\), got CE L1"),
        ("--loss_types MSE KL", "which is called CE here"),
        ("--temperature 0", "--temperature is above 0, got 0"),
        ("--distill_loss_weight -1", "--distill_loss_weight is at least 0, got -1"),
        ("--recipe some.yaml", "--apply_distillation makes a recipe, and --recipe some.yaml is one"),
        ("--distill_teacher other", "give one of them"),
    ],
)
def test_values_that_cannot_be(flags: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        compiled(f"{DISTIL} {flags}")


def test_a_weight_below_zero_is_not_left_out_in_silence() -> None:
    with pytest.raises(InputError, match=r"--distill_loss_weight is at least 0, got -4\.5"):
        compiled(f"{BASE} --distill_loss_weight -4.5")


def test_the_weight_of_question_answering_compares_starts_and_ends_as_its_script_did() -> None:
    args = compiled(f"{BASE} --distill_loss_weight 4.5", "question_answering")
    assert args.recipe.distill_teacher == "self"
    specs = {spec.type: spec.fields for spec in Recipe.from_text(str(args.recipe.recipe)).modifiers}
    outputs = ["start_logits", "end_logits"]
    assert specs["DistillationModifier"] == {"hardness": 1.0, "temperature": 2.0, "distill_output_keys": outputs}
    assert "HiddenStateDistillationModifier" not in specs
    with pytest.raises(InputError, match="both compare start_logits and end_logits"):
        compiled(f"{DISTIL} --distill_loss_weight 4.5", "question_answering")
