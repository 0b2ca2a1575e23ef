"""The tutorials run as they stand, on less data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

TUTORIALS = Path(__file__).resolve().parents[2] / "tutorials"


def run(name: str, *options: object, **environment: str) -> str:
    """What a tutorial prints."""
    command = [sys.executable, TUTORIALS / f"{name}.py", *map(str, options)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_any_loop(tmp_path: Path) -> None:
    said = run("any_loop", "--output_dir", tmp_path, "--sentences", "320")
    assert "sparsity of the prunable layers: 79" in said or "sparsity of the prunable layers: 8" in said
    assert "equal to the model: True" in said
    assert (tmp_path / "compressed" / "deployment" / "model.onnx").is_file()


def run_glue(*more: object) -> str:
    small = ["--max_train_samples", "64", "--per_device_train_batch_size", "16", "--max_length", "32"]
    said = run("glue_no_trainer", *small, *more, ACCELERATE_USE_CPU="true")
    assert "equal to the model: True" in said
    return said


def test_glue_no_trainer(tmp_path: Path) -> None:
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    said = run_glue("--output_dir", dense, "--num_train_epoch", 1)
    assert "sparsity of the prunable layers: 0.00%" in said
    start = ["--model_name_or_path", dense]
    for split in ("train", "validation"):
        start += [f"--{split}_file", dense / "data" / f"{split}.jsonl"]
    prune = ["--do_prune", "--pruning_pattern", "2:4", "--target_sparsity", "0.5", "--pruning_frequency", "1"]
    rest = ["--num_train_epochs", "2", "--cooldown_epochs", "1", "--distill_loss_weight", "5", "--task_name", "qnli"]
    said = run_glue("--output_dir", sparse, *start, *prune, *rest, "--lr_scheduler_type", "constant")
    assert "epoch 2: " in said
    assert "distillation_gain" in said
    for name, weight in load_file(sparse / "model.safetensors").items():
        if ".layer." in name and weight.ndim == 2:
            assert (weight.unflatten(1, (-1, 4)).count_nonzero(-1) == 2).all(), name


def test_share_a_recipe(tmp_path: Path) -> None:
    said = run("share_a_recipe", "--output_dir", tmp_path, "--sentences", "96")
    assert "epochs of the recipe: 1" in said
    assert (tmp_path / "fetched" / "recipe.yaml").read_text() == (tmp_path / "run" / "recipe.yaml").read_text()
    assert (tmp_path / "again" / "model.safetensors").is_file()
    fetched = list((tmp_path / "cache").rglob("model.safetensors"))
    assert [path.read_bytes() for path in fetched] == [(tmp_path / "run" / "model.safetensors").read_bytes()]


def test_shrink(tmp_path: Path) -> None:
    said = run("shrink", "--output_dir", tmp_path, "--sentences", "320")
    assert "first layer: 2 heads, 256 neurons" in said
    assert "int8, equal to the model: True" in said


def test_digits_cnn(tmp_path: Path) -> None:
    said = run("digits_cnn", "--output_dir", tmp_path, "--num_epochs", "6")
    assert "equal to the model: True" in said
    operators = next(line for line in said.splitlines() if line.startswith("operators"))
    assert "3 QLinearConv" in operators
    assert {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"}.isdisjoint(operators.replace(",", " ").split())
    accuracy = [float(word) for word in said.splitlines()[-1].split() if word.startswith("0.")]
    assert len(accuracy) == 2
    assert min(accuracy) > 0.9
    assert abs(accuracy[0] - accuracy[1]) <= 0.005


def test_question_answering(tmp_path: Path) -> None:
    said = run("question_answering", "--output_dir", tmp_path, "--questions", "320")
    assert "Which place is it about ?" in said
    assert "F1 in onnxruntime: " in said
    assert (tmp_path / "small" / "eval_null_odds.json").is_file()


def test_cached_teacher(tmp_path: Path) -> None:
    said = run("cached_teacher", "--output_dir", tmp_path, "--sentences", "96")
    assert "answers for 96 sentences, 96 of them asked for now" in said
    assert float(said.rsplit(maxsplit=1)[-1]) < 1e-4


def test_train_on(tmp_path: Path) -> None:
    said = run("train_on", "--output_dir", tmp_path, "--sentences", "96")
    assert "run_1: EpochRangeModifier, SetLearningRateModifier, WeightPruningModifier" in said
    assert "QuantizationModifier, ConstantPruningModifier" in said
    assert "zeros that were lost: 0" in said
    sizes = {
        name: sum(p.stat().st_size for p in (tmp_path / name).glob("*.safetensors")) for name in ("pruned", "small")
    }
    assert sizes["small"] < 0.2 * sizes["pruned"]
    assert (tmp_path / "small" / "deployment" / "model.onnx").is_file()
