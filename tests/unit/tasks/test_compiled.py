"""Flags of several kinds make one recipe, or are told why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.modifiers.base import Modifier
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.compiled import compile_flags
from sparsify.tasks.parsing import parse

ALL = "--do_train --num_train_epochs 4 --do_prune --apply_distillation --apply_quantization"


def compiled(command: str, outputs: tuple[str, ...] = ("logits",)) -> Arguments[Any]:
    argv = ["--output_dir", "out", "--use_cpu", *command.split()]
    args = parse("text_classification", argv, frozenset(flag[2:] for flag in argv if flag.startswith("--")))
    compile_flags(args, outputs)
    return args


def modifiers(args: Arguments[Any]) -> dict[str, Modifier]:
    assert args.recipe.recipe is not None
    return {type(modifier).__name__: modifier for modifier in load_recipe(args.recipe.recipe).modifiers}


def test_three_kinds_of_flags_are_one_recipe() -> None:
    args = compiled(f"{ALL} --target_sparsity 0.6 --loss_weights 0 1 --teacher_model_name_or_path t")
    found = modifiers(args)
    assert set(found) == {
        "EpochRangeModifier",
        "WeightPruningModifier",
        "DistillationModifier",
        "QuantizationModifier",
    }
    assert found["WeightPruningModifier"].model_dump()["final_sparsity"] == 0.6
    assert found["DistillationModifier"].model_dump()["hardness"] == 1.0
    assert found["EpochRangeModifier"].end == 4.0
    assert (args.compiled, args.recipe.distill_teacher, args.recipe.one_shot) == (True, "t", False)


def test_without_such_flags_nothing_is_touched(tmp_path: Path) -> None:
    for recipe in ("", f"--recipe {tmp_path}/mine.yaml"):
        args = compiled(f"--do_train {recipe}")
        assert (args.recipe.recipe, args.compiled) == (recipe.removeprefix("--recipe ") or None, False)


@pytest.mark.parametrize("flag", ["--do_prune", "--auto_slim", "--apply_distillation", "--apply_quantization"])
def test_a_recipe_beside_them_is_refused(flag: str) -> None:
    with pytest.raises(InputError, match=f"{flag} makes a recipe, and --recipe mine.yaml is one: give one of them"):
        compiled(f"--do_train {flag} --recipe mine.yaml")


@pytest.mark.parametrize(
    ("length", "ranged"),
    [("--num_train_epochs 3", True), ("--num_train_epochs 2.5", False), ("--max_steps 50 --num_train_epochs 3", False)],
)
def test_the_length_is_written_where_it_is_whole_epochs(length: str, ranged: bool) -> None:
    found = modifiers(compiled(f"--do_train --apply_distillation {length}"))
    assert ("EpochRangeModifier" in found) == ranged


def test_max_steps_of_minus_one_are_none() -> None:
    assert "EpochRangeModifier" in modifiers(compiled("--do_train --do_prune --max_steps -1 --num_train_epochs 2"))


def test_without_training_quantization_is_one_shot_and_stands_alone() -> None:
    args = compiled("--do_eval --apply_quantization --quantization_approach static --num_calibration_samples 7")
    assert args.recipe.one_shot
    (found,) = modifiers(args).values()
    assert found.model_dump()["num_calibration_samples"] == 7
    for other in ("do_prune", "apply_distillation"):
        with pytest.raises(InputError, match=f"--{other} acts while training"):
            compiled(f"--do_eval --apply_quantization --{other}")


def test_who_teaches() -> None:
    def teacher(command: str) -> str | None:
        return compiled(f"--do_train {command}").recipe.distill_teacher

    assert teacher("--apply_distillation") is None  # asked for later: which one cannot be guessed
    assert teacher("--do_prune --distill_loss_weight 2") == "self"
    assert teacher("--apply_distillation --distill_loss_weight 2") is None
    assert teacher("--distill_loss_weight 2 --teacher_model_name_or_path t") == "t"
    assert teacher("--apply_distillation --distill_teacher t --teacher_model_name_or_path t") == "t"
    with pytest.raises(InputError, match="--teacher_model_name_or_path a and --distill_teacher b: give one of them"):
        teacher("--apply_distillation --distill_teacher b --teacher_model_name_or_path a")
    with pytest.raises(InputError, match="--apply_distillation learns from a teacher, and --distill_teacher disable"):
        teacher("--do_prune --apply_distillation --distill_teacher disable")


def test_outputs_of_the_task_decide_what_is_compared() -> None:
    found = modifiers(compiled("--do_train --distill_loss_weight 2", ("start_logits", "end_logits")))
    assert found["DistillationModifier"].model_dump()["distill_output_keys"] == ["start_logits", "end_logits"]
    assert "HiddenStateDistillationModifier" in modifiers(compiled("--do_train --distill_loss_weight 2"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--target_sparsity 0.5", "without --do_prune nothing is pruned: --target_sparsity has no effect"),
        ("--temperature 2", "without --apply_distillation --temperature has no effect"),
        ("--calibration_observer mse", "without --apply_quantization nothing is quantized"),
    ],
)
def test_flags_of_no_effect_are_told(flags: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        args = compiled(f"--do_train {flags}")
    assert message in caplog.text
    assert args.recipe.recipe is None


def test_the_recipe_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sparsify"):
        args = compiled("--do_train --do_prune")
    assert args.recipe.recipe is not None
    assert args.recipe.recipe in caplog.text
