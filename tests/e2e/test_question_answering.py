"""``sparsify-train question_answering`` on a tiny model: train, compress, export, measure, predict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsify.cli.train import main
from tests.helpers import qa

RECIPE = """
num_epochs: 4
training_modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
      {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 2.0e-3, final_lr: 0}
pruning_modifiers:
  - !GMPruningModifier
      {start_epoch: 0.0, end_epoch: 2.0, update_frequency: 0.2, init_sparsity: 0.0, final_sparsity: 0.3,
       params: ["re:bert.encoder.*weight"]}
quantization_modifiers:
  - !QuantizationModifier {start_epoch: 2.0, submodules: [bert.encoder, qa_outputs]}
distillation_modifiers:
  - !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [start_logits, end_logits]}
"""


class World:
    """A dense model trained once, and the flags that all runs share."""

    def __init__(self, root: Path, *options: str, negatives: bool = False) -> None:
        self.options = options
        self.base = qa.model_folder(root / "base")
        self.data = qa.data_files(root / "data", train=192, negatives=negatives)
        self.recipe = root / "recipe.yaml"
        self.recipe.write_text(RECIPE)
        self.dense = root / "dense"
        learn = ("--do_train", "--do_eval", "--do_predict", "--num_train_epochs", "12", "--learning_rate", "5e-3")
        assert main(self.flags(self.dense, *learn)) == 0

    def flags(self, output: Path, *more: str, model: Path | None = None) -> list[str]:
        argv = ["question_answering", "--model_name_or_path", str(model or self.base), "--output_dir", str(output)]
        for split, path in self.data.items():
            argv += [f"--{split}_file", str(path)]
        return [*argv, *self.options, "--per_device_train_batch_size", "8", "--report_to", "none", "--use_cpu", *more]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def negatives(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("negatives"), "--version_2_with_negative", negatives=True)


@pytest.fixture(scope="module")
def small(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pruned, quantized and distilled, trained by a process of its own."""
    folder = tmp_path_factory.mktemp("small") / "model"
    flags = ("--do_train", "--do_eval", "--do_predict", "--recipe", str(world.recipe), "--save_strategy", "epoch")
    argv = world.flags(folder, *flags, "--distill_teacher", str(world.dense), model=world.dense)
    run = subprocess.run(
        [sys.executable, "-m", "sparsify.cli.train", *argv], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "validation exact_match" in run.stdout
    assert "sparsity of the prunable layers" in run.stdout
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(folder / "all_results.json")
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_dense_model_answers(world: World) -> None:
    assert results(world.dense)["eval_f1"] > 90
    asked = lines(world.data["test"])
    said = read(world.dense / "predictions.json")
    assert list(said) == [row["id"] for row in asked]
    right = sum(said[row["id"]] == row["answers"]["text"][0] for row in asked)
    assert 100 * right / len(asked) == results(world.dense)["predict_exact_match"]
    assert set(read(world.dense / "eval_predictions.json")) == {row["id"] for row in lines(world.data["validation"])}
    best = read(world.dense / "nbest_predictions.json")
    assert all(found[0]["text"] == said[name] for name, found in best.items())
    assert all(sum(one["probability"] for one in found) == pytest.approx(1) for found in best.values())
    assert not (world.dense / "null_odds.json").exists()


def test_a_model_that_may_say_nothing(negatives: World) -> None:
    found = results(negatives.dense)
    assert min(found["eval_HasAns_f1"], found["eval_NoAns_f1"]) > 80
    assert found["eval_best_f1"] >= found["eval_f1"]
    odds, said = read(negatives.dense / "null_odds.json"), read(negatives.dense / "predictions.json")
    assert {name for name, text in said.items() if not text} == {name for name, odd in odds.items() if odd > 0}


def test_the_recipe_compresses_and_a_fresh_process_measures_the_same(world: World, small: Path, tmp_path: Path) -> None:
    weights = load_file(small / "model.safetensors")
    pruned = [w for name, w in weights.items() if name.startswith("bert.encoder") and name.endswith(".weight")]
    pruned = [w for w in pruned if w.ndim == 2]
    zeros = sum(int((w == 0).sum()) for w in pruned) / sum(w.numel() for w in pruned)
    assert zeros == pytest.approx(0.3, abs=0.02)
    assert any(name.endswith("input_fq.scale") for name in weights)
    assert results(small)["eval_f1"] > 70
    assert main(world.flags(tmp_path, "--do_eval", model=small)) == 0
    assert results(tmp_path)["eval_loss"] == pytest.approx(results(small)["eval_loss"], abs=1e-6)
    assert read(tmp_path / "eval_predictions.json") == read(small / "eval_predictions.json")


def test_a_run_cut_in_the_middle_ends_with_the_same_weights(world: World, small: Path, tmp_path: Path) -> None:
    cut = sorted(small.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))[1]
    flags = ("--do_train", "--recipe", str(world.recipe), "--distill_teacher", str(world.dense))
    argv = world.flags(tmp_path, *flags, "--resume_from_checkpoint", str(cut), model=world.dense)
    assert main(argv) == 0
    first, again = load_file(small / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
