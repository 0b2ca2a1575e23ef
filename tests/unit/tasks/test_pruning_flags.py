"""Pruning flags become the recipes that they stand for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.argv import translate
from sparsify.cli.train_help import help_text
from sparsify.errors import InputError, RecipeError
from sparsify.manager import load_recipe
from sparsify.recipe.recipe import Recipe
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.compiled import compile_flags
from sparsify.tasks.consent import settle
from sparsify.tasks.parsing import parse
from sparsify.tasks.pruning_arguments import FLAGS
from sparsify.tasks.recipes import load_manager
from tests.unit.tasks.seed_commands import COMMANDS, DENSE, FILES, argv

GOLDEN = Path(__file__).parent / "golden"
BASE = "--output_dir out --do_prune --num_train_epochs 10"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)


def compiled(command: str, task: str = "text_classification") -> Arguments[Any]:
    given = translate([*argv(command), "--use_cpu", "--do_train"])
    args = parse(task, given.argv, given.flags)
    compile_flags(args)
    return args


def entries(command: str) -> dict[str, dict[str, Any]]:
    text = compiled(command).recipe.recipe
    assert text is not None
    return {spec.type: spec.fields for spec in Recipe.from_text(text).modifiers}


def pruner(command: str) -> dict[str, Any]:
    return entries(command)["WeightPruningModifier"]


@pytest.mark.parametrize("name", COMMANDS)
def test_golden_recipes(name: str) -> None:
    task = "token_classification" if "--dataset_name" in COMMANDS[name] else "text_classification"
    args = compiled(COMMANDS[name], task)
    assert args.recipe.recipe == (GOLDEN / f"{name}.yaml").read_text()
    manager = load_manager(args.recipe)
    settle(args, manager)
    assert manager is not None
    assert manager.max_epochs == args.training.num_train_epochs
    assert args.recipe.distill_teacher == ("self" if manager.needs_teacher else None)


@pytest.mark.parametrize("name", DENSE)
def test_dense_commands_compile_to_nothing(name: str) -> None:
    for more in ("", "--do_prune False"):
        args = compiled(f"{DENSE[name]} {more}")
        assert (args.recipe.recipe, args.compiled) == (None, False)
    assert compiled(DENSE["mrpc"]).training.num_train_epochs == 5


def test_the_commands_are_those_of_the_seed(shared: Path) -> None:
    text = (shared / "seeds" / "004_d0d8d2b9b9d0958c.txt").read_text()
    found = [shlex.split(c.replace("\\\n", " ")) for c in re.findall(r"run_glue_no_trainer\w*\.py(.*?)```", text, re.S)]
    assert len(found) == 10
    mine = [_pairs(argv(command)) for command in (*COMMANDS.values(), *DENSE.values())]
    for tokens in found:
        assert _pairs(tokens) in mine, tokens


def _pairs(tokens: list[str]) -> dict[str, str | None]:
    """Flags with their values, but for paths; the mixed list stands in a script there, in a file here."""
    tokens = [part for token in tokens for part in re.split(r"(?<=[0-9])(?=\\)|\\", token) if part]
    pairs: dict[str, str | None] = {}
    for index, token in enumerate(tokens):
        if token.startswith("--"):
            value = tokens[index + 1] if index + 1 < len(tokens) else None
            pairs[token] = None if value is None or value.startswith("--") else value
    return {k: v for k, v in pairs.items() if k not in ("--model_name_or_path", "--output_dir", "--pruning_config")}


def test_defaults() -> None:
    found = pruner(BASE)
    assert (found["score_type"], found["mask_type"], found["inter_func"]) == ("snip_momentum", "4x1", "exp")
    assert (found["pruning_scope"], found["final_sparsity"]) == ("global", 0.8)
    assert (found["start_epoch"], found["end_epoch"], found["update_frequency"]) == (0, 10.0, 0.25)
    assert pruner("--output_dir out --apply_pruning")["final_sparsity"] == 0.1


def test_warm_up_cool_down_and_frequency() -> None:
    found = pruner(f"{BASE} --sparsity_warm_epochs 1 --cooldown_epochs 5 --pruning_frequency -1")
    assert (found["start_epoch"], found["end_epoch"], found["update_frequency"]) == (1.0, 5.0, 0.1)


def test_runs_counted_in_steps() -> None:
    found = pruner("--output_dir out --do_prune --max_steps 500")
    assert (found["start_epoch"], found["end_epoch"], found["update_frequency"]) == (0, "100%", "2.5%")
    with pytest.raises(InputError, match="give --end_step"):
        compiled("--output_dir out --do_prune --max_steps 500 --cooldown_epochs 2")


def test_a_part_of_an_epoch_needs_no_flag_twice() -> None:
    args = compiled("--output_dir out --do_prune --num_train_epochs 0.5")
    settle(args, load_manager(args.recipe))
    assert args.training.num_train_epochs == 0.5


def test_steps() -> None:
    found = pruner(f"{BASE} --start_step 100 --end_step 500 --pruning_type magnitude")
    assert (found["start_epoch"], found["end_epoch"], found["update_frequency"]) == (
        "100 steps",
        "500 steps",
        "10 steps",
    )


def test_both_spellings_of_a_switch() -> None:
    assert compiled("--output_dir out --do_prune True --num_train_epochs 2").compiled
    assert not compiled("--output_dir out --do_prune False --target_sparsity 0.5").compiled


def test_flags_that_do_nothing_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        compiled("--output_dir out --target_sparsity 0.5 --pruning_approach magnitude")
    assert "without --do_prune nothing is pruned: --pruning_approach, --target_sparsity has no effect" in caplog.text


def test_the_recipe_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sparsify"):
        args = compiled(BASE)
    assert str(args.recipe.recipe) in caplog.text


def test_the_teacher() -> None:
    named = compiled(f"{BASE} --distill_loss_weight 2 --teacher_model_name_or_path some/teacher")
    assert named.recipe.distill_teacher == "some/teacher"
    with pytest.raises(InputError, match="give one of them"):
        compiled(f"{BASE} --distill_teacher a --teacher_model_name_or_path b")


def test_a_file_wins_over_flags_and_flags_fill_it() -> None:
    Path("config.json").write_text('{"target_sparsity": 0.6, "pattern": "1x1"}')
    found = pruner(f"{BASE} --pruning_config config.json --target_sparsity 0.7 --pruning_scope local")
    assert (found["final_sparsity"], found["mask_type"], found["pruning_scope"]) == (0.6, "unstructured", "local")
    assert found["end_epoch"] == 10.0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--target_sparsity 0.9 --pruning_pattern 2:4", "which is exactly 0.5"),
        ("--cooldown_epochs 10", "leaves no time to prune"),
        ("--cooldown_epochs 2 --end_step 50", "say the same thing twice"),
        ("--sparsity_warm_epochs -1", "at least 0"),
        ("--recipe some.yaml", "--do_prune makes a recipe, and --recipe some.yaml is one"),
        ("--prune_mha_sparsity 1.5", "lies between 0 and 1"),
        ("--prune_mha_sparsity 0.5 --pruning_pattern 4x1", "would prune the same layers"),
    ],
)
def test_contradictions_are_refused(flags: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        compiled(f"{BASE} {flags}")


def test_heads_and_neurons() -> None:
    text = compiled(f"{BASE} --auto_slim --prune_mha_sparsity 0.5 --prune_ffn2_sparsity 0.4 --cooldown_epochs 2")
    heads, neurons, thinning = load_recipe(str(text.recipe.recipe)).modifiers[1:]
    assert [type(m).__name__ for m in (heads, thinning)] == ["StructuredPruningModifier", "LayerThinningModifier"]
    found = [(m.mask_type, m.final_sparsity, m.start, m.end) for m in (heads, neurons)]  # type: ignore[attr-defined]
    assert found == [("heads", 0.5, 0, 8.0), ("neurons", 0.4, 0, 8.0)]
    with pytest.raises(InputError, match="--auto_slim removes what was pruned as a whole"):
        compiled("--output_dir out --auto_slim")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--pruning_type snip_momentun",
            "--pruning_type is one of .*, got 'snip_momentun'; did you mean 'snip_momentum'?",
        ),
        ("--pruning_pattern 4by1", "--pruning_pattern is NxM .*, got '4by1'"),
        ("--target_sparsity 90", "--target_sparsity is a number from 0 to 1, got 90.0"),
        ("--start_step 5 --end_step 3", "--end_step 3 is before start_step 5"),
    ],
)
def test_values_that_cannot_be(flags: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        compiled(f"{BASE} {flags}")


def test_a_config_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="absent: cannot be read"):
        compiled(f"{BASE} --pruning_config absent")


def test_help_names_every_flag() -> None:
    text = help_text("text_classification")
    assert all(f"--{name}" in text for name in FLAGS)


def test_what_is_compiled_can_be_saved_and_loaded(tmp_path: Path) -> None:
    args = compiled(COMMANDS["mrpc_mixed"])
    manager = load_recipe(str(args.recipe.recipe))
    manager.recipe.save(tmp_path / "recipe.yaml")
    assert [str(m) for m in load_recipe(tmp_path / "recipe.yaml").modifiers] == [str(m) for m in manager.modifiers]
