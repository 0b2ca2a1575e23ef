from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.parsing import full_help, parse
from sparsify.tasks.progress import LINES


def parsed(tmp_path: Path, *flags: str) -> Arguments[Any]:
    argv = ["--output_dir", str(tmp_path), "--use_cpu", "--report_to", "none", *flags]
    return parse("token_classification", argv, frozenset(f[2:] for f in argv if f.startswith("--")))


def test_our_flags_and_hugging_faces_are_parsed_together(tmp_path: Path) -> None:
    args = parsed(tmp_path, "--recipe", "r.yaml", "--max_seq_length", "64", "--learning_rate", "1e-4", "--one_shot")
    assert (args.recipe.recipe, args.data.max_seq_length, args.training.learning_rate) == ("r.yaml", 64, 1e-4)
    assert args.recipe.one_shot is True
    assert "learning_rate" in args.explicit
    assert "num_train_epochs" not in args.explicit


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--save_strateg", "epoch"), r"unknown flag --save_strateg; did you mean --save_strategy\?"),
        (("--zzzzzz",), "--help-all"),
        (("--max_seq_length", "long"), "^--max_seq_length: invalid int value: 'long'$"),
        (("--recipe",), "^--recipe: expected one argument"),
        (("--eval_strategy", "often"), "invalid choice: 'often'"),
        (("--load_best_model_at_end",), "requires the save and eval strategy to match"),
        (("--optim", "best"), "best"),
    ],
)
def test_mistakes_name_the_flag(tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parsed(tmp_path, *flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--max_seq_length 128 --max_length 64", "--max_seq_length 128 and --max_length 64: they are two names of one"),
        ("--max_length=64 --max_seq_length 128", "--max_seq_length 128 and --max_length 64"),
        ("--max-length 64 --max-seq-length 128", "--max_seq_length 128 and --max_length 64"),
        ("--pruning_type magnitude --pruning_approach snip", "--pruning_type magnitude and --pruning_approach snip"),
        ("--metric f1 --metric_name eval_f1", "--metric f1 and --metric_name eval_f1"),
    ],
)
def test_two_values_under_two_names_of_a_flag(tmp_path: Path, flags: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parsed(tmp_path, *flags.split())


def test_one_value_under_two_names_of_a_flag(tmp_path: Path) -> None:
    assert parsed(tmp_path, "--max_seq_length", "64", "--max_length=64").data.max_seq_length == 64


@pytest.mark.parametrize(("task", "tagged"), [("ner", "ner"), ("token-classification", "ner"), ("POS", "pos")])
@pytest.mark.parametrize("flag", ["--task", "--task_name"])
def test_task_names_what_is_tagged(tmp_path: Path, flag: str, task: str, tagged: str) -> None:
    assert parsed(tmp_path, flag, task).data.task_name == tagged


def test_either_name_of_the_text_column(tmp_path: Path) -> None:
    assert parsed(tmp_path, "--input_column_names", "words").data.text_column == "words"
    assert parsed(tmp_path, "--text_column_name", "words").data.text_column == "words"
    assert parsed(tmp_path).data.text_column is None


def test_no_bars_in_a_log_file(tmp_path: Path) -> None:
    assert parsed(tmp_path).training.disable_tqdm is True  # the tests' standard error is no terminal
    assert parsed(tmp_path, "--disable_tqdm", "false").training.disable_tqdm is False
    assert parsed(tmp_path).training.logging_steps == LINES
    assert parsed(tmp_path, "--disable_tqdm", "false").training.logging_steps == 500
    assert parsed(tmp_path, "--logging_steps", "7").training.logging_steps == 7
    assert parsed(tmp_path).training.dataloader_pin_memory is False


def test_the_full_help_knows_all_flags() -> None:
    assert "--weight_decay" in full_help("token_classification")
