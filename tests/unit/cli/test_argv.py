from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsify.cli.argv import expand_file, flag_name, translate
from sparsify.errors import InputError


@pytest.mark.parametrize(
    ("given_flags", "became"),
    [
        ("--evaluation_strategy epoch", "--eval_strategy epoch"),
        ("--evaluation-strategy=epoch", "--eval_strategy epoch"),
        ("--warmup_ratio 0.1", "--warmup_steps 0.1"),
        ("--no_cuda", "--use_cpu"),
        ("--no_cuda False", "--use_cpu False"),
        ("--per_gpu_train_batch_size 4", "--per_device_train_batch_size 4"),
        ("--per_gpu_eval_batch_size=4", "--per_device_eval_batch_size 4"),
        ("--group_by_length", "--train_sampling_strategy group_by_length"),
        ("--group_by_length false", ""),
        ("--adafactor", "--optim adafactor"),
        ("--include_inputs_for_metrics", "--include_for_metrics inputs"),
        ("--optim adamw_hf", "--optim adamw_torch"),
        ("--optim=adamw_ort_fused", "--optim adamw_torch_fused"),
        ("--overwrite_output_dir", ""),
        ("--use_ipex", ""),
        ("--use_ipex --bf16 --use_cpu", "--bf16 --use_cpu"),
        ("--optim adamw_apex_fused", "--optim adamw_torch_fused"),
        ("--save_onnx", ""),
        ("--use_module_with_loss True", ""),
        ("--save_safetensors True", ""),
        ("--half_precision_backend auto", ""),
        ("--fp16_backend=amp", ""),
        ("--push_to_hub_token x", "--hub_token x"),
        ("--num_train_epoch 5", "--num_train_epochs 5"),
        ("--num_warmup_steps 10", "--warmup_steps 10"),
        ("--max_train_steps 10", "--max_steps 10"),
        ("--use_slow_tokenizer", ""),
        ("--use_fast_tokenizer True", ""),
    ],
)
def test_dropped_flags_become_what_they_are_now(given_flags: str, became: str) -> None:
    found = translate([*given_flags.split(), "--seed", "1"])
    assert found.argv == [*became.split(), "--seed", "1"]
    assert len(found.notes) == (0 if given_flags.endswith("false") else 1)
    assert all(line.startswith("--") and "\n" not in line for line in found.notes)


def test_processes_without_a_gpu_are_told_to_work_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsify.cli.argv._has_accelerator", lambda: False)
    assert translate(["--seed", "1"]).argv == ["--seed", "1"]
    monkeypatch.setenv("LOCAL_RANK", "0")
    found = translate(["--seed", "1"])
    assert found.argv == ["--seed", "1", "--use_cpu"]
    assert len(found.notes) == 1
    assert translate(["--no_cuda"]).argv == ["--use_cpu"]
    monkeypatch.setattr("sparsify.cli.argv._has_accelerator", lambda: True)
    assert translate(["--seed", "1"]).argv == ["--seed", "1"]


def test_what_is_written_today_stays() -> None:
    argv = ["--optim", "adamw_torch", "--learning-rate=1e-4", "--label_names", "a", "b", "--max_steps", "-1", "--tf32"]
    found = translate(argv)
    assert found.argv == [
        *("--optim", "adamw_torch", "--learning_rate", "1e-4", "--label_names", "a", "b", "--max_steps", "-1", "--tf32")
    ]
    assert found.notes == []
    assert found.flags == {"optim", "learning_rate", "label_names", "max_steps", "tf32"}


def test_todays_flag_wins_over_the_old_one() -> None:
    found = translate(["--warmup_ratio", "0.1", "--warmup_steps", "5"])
    assert found.argv == ["--warmup_steps", "5"]
    assert found.notes == ["--warmup_ratio 0.1 is ignored: --warmup_steps is given"]


@pytest.mark.parametrize("ratio", ["1", "1.5", "-0.1", "much", "nan"])
def test_a_warmup_ratio_without_meaning_is_refused(ratio: str) -> None:
    with pytest.raises(InputError, match="--warmup_ratio"):
        translate(["--warmup_ratio", ratio])


def test_the_logging_dir_goes_to_the_environment() -> None:
    found = translate(["--logging_dir", "logs"])
    assert (found.argv, found.environment) == ([], {"TENSORBOARD_LOGGING_DIR": "logs"})


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("flag", ["--fp16", "--fp16_full_eval"])
def test_fp16_without_a_gpu_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, gpu: bool, flag: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = translate([flag])
    assert found.argv == ([flag] if gpu else [])
    assert bool(found.notes) is not gpu
    assert translate([flag, "--no_cuda"]).argv == ["--use_cpu"]
    assert translate([flag, "false"]).argv == [flag, "false"]


@pytest.mark.parametrize("gpu", [True, False])
def test_bf16_without_a_gpu_runs_on_the_cpu_and_says_so(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = translate(["--bf16"])
    assert found.argv == (["--bf16"] if gpu else ["--bf16", "--use_cpu"])
    assert bool(found.notes) is not gpu
    assert translate(["--bf16", "--use_cpu"]).argv == ["--bf16", "--use_cpu"]


def test_a_lone_file_is_the_command_line(tmp_path: Path) -> None:
    values = {"do_train": True, "learning_rate": 1e-4, "evaluation_strategy": "epoch", "recipe": None}
    values |= {"recipe_args": {"num_epochs": 2}, "report_to": ["none"], "fp16": False}
    argv = ["--do_train", "true", "--learning_rate", "0.0001", "--eval_strategy", "epoch"]
    argv += ["--recipe_args", '{"num_epochs": 2}', "--report_to", "none", "--fp16", "false"]
    for name in ("args.json", "args.yaml"):
        (tmp_path / name).write_text(json.dumps(values))
        assert translate([str(tmp_path / name)]).argv == argv


@pytest.mark.parametrize(("text", "told"), [("[1]", "expected flag names"), ("{", "args.json")])
def test_a_broken_arguments_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "args.json").write_text(text)
    with pytest.raises(InputError, match=told):
        expand_file([str(tmp_path / "args.json")])
    with pytest.raises(InputError, match="no arguments file"):
        expand_file([str(tmp_path / "other.json")])


@given(
    st.lists(st.builds("".join, st.tuples(st.sampled_from(["--x", "y", "/tmp/", "0."]), st.text("abz_", max_size=4))))
)
def test_unknown_flags_and_their_values_pass_through(argv: list[str]) -> None:
    if len(argv) == 1 and argv[0].endswith((".json", ".yaml", ".yml")):
        return
    assert translate(argv).argv == argv


@given(st.lists(st.text("abz", min_size=1, max_size=4), min_size=1).map("_".join), st.text())
def test_flag_names(name: str, value: str) -> None:
    assert flag_name(f"--{name}={value}") == flag_name(f"--{name.replace('_', '-')}") == name
    assert flag_name(name) is None
    assert flag_name("--") is None


def test_a_flag_given_twice_says_which_value_holds() -> None:
    argv = [
        "--recipe_args",
        "a=1",
        "--seed",
        "3",
        "--seed=3",
        "--recipe-args",
        "b=2",
        "--set",
        "A.x=1",
        "--set",
        "B.y=2",
    ]
    translated = translate(argv)
    assert translated.notes == ["--recipe_args a=1 is ignored: --recipe_args b=2 comes after it"]
    assert translated.argv.count("--set") == 2
