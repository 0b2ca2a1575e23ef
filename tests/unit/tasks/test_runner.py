"""What a command does first and last: which work its flags ask for, and what it leaves in a folder that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.train import main
from sparsify.errors import InputError
from sparsify.export.checkpoint import load_model
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.catalog import get_task
from sparsify.tasks.parsing import parse
from sparsify.tasks.runner import _what_to_do, run
from tests.helpers import texts

RECIPE = """
modifiers:
  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}
  - !QuantizationModifier {start_epoch: 0.0, submodules: [bert.encoder]}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that name a model and its data."""
    root = tmp_path_factory.mktemp("world")
    files = texts.data_files(root / "data", 8, 2)
    argv = ["--model_name_or_path", str(texts.model_folder(root / "base")), "--use_cpu", "--report_to", "none"]
    return [*argv, "--train_file", str(files["train"]), "--validation_file", str(files["validation"])]


def arguments(*argv: str, task: str = "text_classification") -> Arguments[Any]:
    explicit = frozenset(token[2:] for token in argv if token.startswith("--"))
    return parse(task, [*argv, "--use_cpu", "--output_dir", "out"], explicit)


@pytest.mark.parametrize(
    ("flags", "trains", "evaluates"),
    [
        ("--train_file a.csv", True, False),
        ("--train_file a.csv --validation_file b.csv", True, True),
        ("--train_file a.csv --validation_ratio 0.1", True, True),
        ("--train_file a.csv --test_file b.csv --eval_on_test", True, True),
        ("--task_name sst2", True, True),
        ("--train_file a.csv --validation_file b.csv --eval_strategy epoch", True, True),
        ("--train_file a.csv --do_eval", False, True),
        ("--train_file a.csv --do_eval --eval_strategy epoch", False, True),
        ("--train_file a.csv --do_predict", False, False),
    ],
)
def test_a_command_without_a_verb_trains(flags: str, trains: bool, evaluates: bool) -> None:
    args = arguments(*flags.split())
    _what_to_do(get_task("text_classification"), args)
    assert (args.training.do_train, args.training.do_eval) == (trains, evaluates)


def test_other_tasks_want_to_be_told_what_to_do() -> None:
    with pytest.raises(InputError, match="nothing to do: give --do_train"):
        _what_to_do(get_task("token_classification"), arguments("--train_file", "a", task="token_classification"))
    with pytest.raises(InputError, match="--one_shot applies a recipe"):
        _what_to_do(get_task("token_classification"), arguments("--one_shot", task="token_classification"))


def test_one_shot_says_that_it_does_not_train(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        _what_to_do(get_task("text_classification"), arguments("--one_shot", "--do_train", "--recipe", "a.yaml"))
    assert "--do_train has no effect: --one_shot applies the recipe at once" in caplog.text


def test_a_recipe_that_nothing_applies_is_told(caplog: pytest.LogCaptureFixture) -> None:
    task = get_task("text_classification")
    with caplog.at_level("WARNING", "sparsify"):
        for flags in ("--do_train", "--one_shot"):
            _what_to_do(task, arguments(flags, "--do_eval", "--recipe", "a.yaml"))
        assert "no effect" not in caplog.text
        _what_to_do(task, arguments("--do_eval", "--recipe", "a.yaml"))
    assert "the recipe has no effect: nothing is trained; give --do_train, or --one_shot" in caplog.text


def test_a_tolerance_that_cannot_be_measured_is_told_before_training(world: list[str], tmp_path: Path) -> None:
    flags = ["--do_train", "--apply_quantization", "--quantization_approach", "static", "--tolerance_criterion", "0.1"]
    argv = [*world[:-2], *flags, "--output_dir", str(tmp_path), "--max_steps", "1"]
    args = parse("text_classification", argv, frozenset(t[2:] for t in argv if t.startswith("--")))
    with pytest.raises(InputError, match="--tolerance_criterion measures on validation data"):
        run(get_task("text_classification"), args)
    assert not list(tmp_path.iterdir())  # no checkpoint: nothing was trained


def test_a_folder_that_held_another_model_loads_as_the_new_one(world: list[str], tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE)
    argv = ["text_classification", *world, "--output_dir", str(out), "--do_train", "--per_device_train_batch_size", "8"]
    assert main([*argv, "--recipe", str(recipe)]) == 0
    first = (out / "recipe.yaml").read_text()
    (out / ".saving").mkdir()
    (out / ".saving" / "model-00001-of-00002.safetensors").write_text("of a run that was killed")
    assert main([*argv, "--num_train_epochs", "1"]) == 0
    for folder in (out, out / "checkpoint-1"):
        assert not (folder / "recipe.yaml").exists()
        assert not [name for name, _ in load_model(folder).named_modules() if name.endswith("_fq")]
    assert not list(out.glob("*-of-*"))
    assert (out / "recipe.yaml.old").read_text() == first  # it may be a file of the user's own
