"""Quantization flags become the recipes that they stand for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.argv import translate
from sparsify.cli.train_help import help_text
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.recipe.recipe import Recipe
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.compiled import compile_flags
from sparsify.tasks.parsing import parse
from sparsify.tasks.quantization_arguments import FLAGS
from tests.unit.tasks.seed_commands import QUANTIZED, argv

GOLDEN = Path(__file__).parent / "golden"
BASE = "--output_dir out --do_eval --apply_quantization"


def compiled(command: str) -> Arguments[Any]:
    given = translate([*argv(command), "--use_cpu"])
    args = parse("token_classification", given.argv, given.flags)
    compile_flags(args)
    return args


def entries(command: str) -> dict[str, dict[str, Any]]:
    text = compiled(command).recipe.recipe
    assert text is not None
    return {spec.type: spec.fields for spec in Recipe.from_text(text).modifiers}


@pytest.mark.parametrize("name", QUANTIZED)
def test_golden_recipes(name: str) -> None:
    args = compiled(QUANTIZED[name])
    assert args.recipe.recipe == (GOLDEN / f"{name}.yaml").read_text()
    made = load_recipe(args.recipe.recipe)
    assert args.recipe.one_shot == bool(made.post_training)
    made.check_available()


def test_the_approach_follows_from_what_the_command_does() -> None:
    assert list(entries(BASE)) == ["PostTrainingQuantizationModifier"]
    assert entries(BASE)["PostTrainingQuantizationModifier"]["approach"] == "dynamic"
    assert list(entries(f"{BASE} --do_train")) == ["EpochRangeModifier", "QuantizationModifier"]


def test_static_after_training_is_no_one_shot() -> None:
    args = compiled(f"{BASE} --do_train --quantization_approach static --apply_pruning --num_train_epochs 2")
    made = load_recipe(str(args.recipe.recipe))
    assert [type(m).__name__ for m in made.modifiers] == [
        "EpochRangeModifier",
        "WeightPruningModifier",
        "PostTrainingQuantizationModifier",
    ]
    assert not args.recipe.one_shot


def test_samples_and_observer() -> None:
    static = f"{BASE} --quantization_approach static"
    assert entries(static)["PostTrainingQuantizationModifier"]["num_calibration_samples"] == 50
    more = entries(f"{static} --num_calibration_samples 7 --calibration_observer entropy")
    assert more["PostTrainingQuantizationModifier"] == {
        "approach": "static",
        "num_calibration_samples": 7,
        "observer": "entropy",
    }


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--quantization_approach statik", "did you mean static?"),
        ("--quantization_approach aware_training", "give --do_train"),
        ("--calibration_observer mse", "finds ranges of static quantization, and this is dynamic"),
        ("--quantization_approach static --calibration_observer min-max", "did you mean min_max?"),
        ("--metric eval_f1", "--tolerance_criterion looks at"),
        ("--tolerance_criterion 5", "a share from 0 to 1"),
        ("--do_train --tolerance_criterion 0.01", "after training: static or dynamic"),
        ("--apply_pruning", "--apply_pruning acts while training"),
        ("--recipe some.yaml", "--apply_quantization makes a recipe, and --recipe some.yaml is one"),
    ],
)
def test_contradictions_are_refused(flags: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        compiled(f"{BASE} {flags}")


def test_flags_that_do_nothing_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        compiled("--output_dir out --do_eval --quantization_approach static")
    assert "without --apply_quantization nothing is quantized: --quantization_approach has no effect" in caplog.text


def test_a_recipes_quantization_has_a_tolerance_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        compiled("--output_dir out --do_eval --recipe some.yaml --tolerance_criterion 0.01 --metric f1")
    assert "no effect" not in caplog.text
    with pytest.raises(InputError, match="a share from 0 to 1"):
        compiled("--output_dir out --do_eval --recipe some.yaml --tolerance_criterion -1")


def test_help_names_every_flag() -> None:
    text = help_text("text_classification")
    assert all(f"--{name}" in text for name in FLAGS)
