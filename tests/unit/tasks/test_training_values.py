"""Values of Hugging Face's flags, looked at before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.catalog import get_task
from sparsify.tasks.parsing import parse
from sparsify.tasks.runner import run
from sparsify.tasks.training_values import check_values


def arguments(flags: str) -> Arguments[Any]:
    argv = ["--output_dir", "out", "--use_cpu", *flags.split()]
    return parse("text_classification", argv, frozenset(flag[2:] for flag in argv if flag.startswith("--")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--learning_rate -1", "--learning_rate must be at least 0, got -1.0"),
        ("--learning_rate nan", "--learning_rate must be at least 0, got nan"),
        ("--learning_rate inf", "--learning_rate must be at least 0, got inf"),
        ("--per_device_train_batch_size 0", "--per_device_train_batch_size must be at least 1, got 0"),
        ("--per_device_eval_batch_size 0", "--per_device_eval_batch_size must be at least 1, got 0"),
        ("--gradient_accumulation_steps 0", "--gradient_accumulation_steps must be at least 1, got 0"),
        ("--num_train_epochs -2", "--num_train_epochs must be at least 0, got -2"),
        ("--adam_beta1 2", "--adam_beta1 must be at least 0 and below 1, got 2.0"),
        ("--label_smoothing_factor 2", "--label_smoothing_factor must be at least 0 and below 1"),
        ("--seed -1", "--seed must be at least 0 and below 4294967296, got -1"),
        ("--dataloader_num_workers -1", "--dataloader_num_workers must be at least 0, got -1"),
        ("--num_export_samples -3", "--num_export_samples must be at least 0, got -3"),
        ("--num_calibration_samples 0", "--num_calibration_samples must be at least 1, got 0"),
        ("--report_to foo", "--report_to foo: foo is not supported, only"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(flags: str, message: str) -> None:
    args = arguments(f"--do_train --model_name_or_path absent --train_file absent.csv {flags}")
    with pytest.raises(InputError, match=f"^{message}"):
        run(get_task("text_classification"), args)


def test_a_program_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(names: list[str]) -> list[Any]:
        def callback() -> None:
            raise RuntimeError(f"{names[0]} requires itself to be installed.\nRun pip.")

        return [callback]

    monkeypatch.setattr("transformers.integrations.get_reporting_integration_callbacks", missing)
    with pytest.raises(InputError, match=r"^--report_to wandb: wandb requires itself to be installed\. \(none: "):
        check_values(arguments("--report_to wandb"))


def test_a_best_model_that_nobody_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    best = "--load_best_model_at_end --eval_strategy epoch --save_strategy epoch"
    with caplog.at_level("WARNING", "sparsify"):
        check_values(arguments(f"{best} --best_model_after_epoch 3"))
        assert not caplog.text
        check_values(arguments("--best_model_after_epoch 3"))
    assert "--best_model_after_epoch 3 has no effect without --load_best_model_at_end" in caplog.text


@pytest.mark.parametrize(
    "flags", ["", "--report_to none", "--learning_rate 0 --num_train_epochs 0.5", "--seed 0 --adam_beta2 0"]
)
def test_all_others_are_fine(flags: str) -> None:
    check_values(arguments(flags))
