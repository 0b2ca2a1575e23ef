"""Quantization after training through the real commands, on a tiny model that has learnt its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsify import load_model, load_recipe
from sparsify.cli.export import main as export
from sparsify.cli.train import main
from sparsify.quantization.layers import quantizers
from tests.helpers import ner
from tests.helpers.runs import World, results


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Sentences, and a dense model that runs start from."""
    root = tmp_path_factory.mktemp("post")
    made = World("token_classification", root, ner.model_folder(root / "base"), ner.data_files(root / "data"), "")
    made.learn(6, "--do_eval").base = made.dense
    return made


def exported(folder: Path, data: Path) -> dict[str, Any]:
    assert export(["--model_path", str(folder), "--samples", str(data), "--eval", str(data)]) == 0
    found: dict[str, Any] = json.loads((folder / "deployment" / "report.json").read_text())
    return found


def test_static_quantizes_evaluates_saves_and_exports(world: World, tmp_path: Path) -> None:
    static = ("--apply_quantization", "--quantization_approach", "static", "--num_calibration_samples", "20")
    assert main(world.flags(tmp_path, *static, "--do_eval")) == 0
    f1 = results(tmp_path)["eval_f1"]
    assert f1 >= results(world.dense)["eval_f1"] - 0.05 > 0.5
    assert "num_calibration_samples: 20" in (tmp_path / "recipe.yaml").read_text()
    model = load_model(tmp_path)
    assert all(fq.enabled for fq in quantizers(model).values())
    report = exported(tmp_path, world.data["validation"])
    assert report["metrics"]["onnxruntime"]["f1"] == pytest.approx(f1, abs=0.02)
    assert report["verification"]["weights"]["int8"] == report["verification"]["weights"]["compared"]
    assert report["verification"]["operators"]["float_ops"] == []


def test_dynamic_is_what_a_command_without_training_does(world: World, tmp_path: Path) -> None:
    assert main(world.flags(tmp_path, "--apply_quantization", "--do_eval", "--per_device_eval_batch_size", "16")) == 0
    f1 = results(tmp_path)["eval_f1"]
    assert f1 >= results(world.dense)["eval_f1"] - 0.05 > 0.5
    assert "approach: dynamic" in (tmp_path / "recipe.yaml").read_text()
    report = exported(tmp_path, world.data["validation"])
    assert report["precision"] == "int8"
    assert report["metrics"]["torch"]["f1"] == pytest.approx(f1, abs=0.02)
    assert report["metrics"]["onnxruntime"]["f1"] == pytest.approx(f1, abs=0.02)
    assert report["verification"]["weights"]["int8"] == report["verification"]["weights"]["compared"]


def test_layers_are_left_in_float_until_the_metric_holds(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss that may not grow at all: something has to stay float, and the saved recipe says what."""
    static = ("--apply_quantization", "--quantization_approach", "static", "--calibration_observer", "min_max")
    tuned = ("--tolerance_criterion", "0", "--metric", "eval_loss", "--do_eval")
    assert main(world.flags(tmp_path, *static, *tuned)) == 0
    said = capsys.readouterr().err
    assert "eval_loss in float" in said
    assert "parts in float" in said
    [modifier] = load_recipe(tmp_path / "recipe.yaml").modifiers
    ignored = modifier.ignore or []  # type: ignore[attr-defined]
    loaded = load_model(tmp_path)
    floats = [n for n, m in loaded.named_modules() if type(m) in (torch.nn.Linear, torch.nn.Embedding)]
    assert all(any(n == i or n.startswith(f"{i}.") for i in ignored) for n in floats)
    assert ("tolerance was not met" in said) == (results(tmp_path)["eval_loss"] > results(world.dense)["eval_loss"])


def test_a_metric_that_does_not_exist(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--apply_quantization", "--do_eval", "--tolerance_criterion", "0.1", "--metric", "eval_bleu")
    assert main(world.flags(tmp_path, *flags)) == 2
    assert "evaluation gives no such metric; it gives" in capsys.readouterr().err


def test_a_metric_that_does_not_exist_is_told_before_training(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--do_train", "--max_steps", "2", "--tolerance_criterion", "0.1", "--metric", "eval_bleu")
    static = ("--apply_quantization", "--quantization_approach", "static")
    assert main(world.flags(tmp_path, *asked, *static)) == 2
    said = capsys.readouterr().err
    assert "evaluation gives no such metric; it gives" in said
    assert "train_loss" not in said
    assert not (tmp_path / "model.safetensors").exists()


def test_looking_for_the_metric_changes_no_training(world: World, tmp_path: Path) -> None:
    """One evaluation more before training: what is trained has the same bits."""
    static = ("--do_train", "--max_steps", "3", "--apply_quantization", "--quantization_approach", "static")
    tolerant = ("--tolerance_criterion", "0.9")
    assert main(world.flags(tmp_path / "usual", *static, *tolerant)) == 0
    assert main(world.flags(tmp_path / "named", *static, *tolerant, "--metric", "eval_f1")) == 0
    usual, named = (load_file(tmp_path / name / "model.safetensors") for name in ("usual", "named"))
    assert usual.keys() == named.keys()
    assert all(torch.equal(usual[name], named[name]) for name in usual)


def test_a_tolerance_that_nothing_is_measured_by_is_said(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "prune.yaml"
    recipe.write_text("modifiers:\n  - !ConstantPruningModifier\n    params: ['re:.*intermediate.dense.weight']\n")
    flags = ("--recipe", str(recipe), "--do_train", "--max_steps", "1", "--tolerance_criterion", "0.1")
    assert main(world.flags(tmp_path / "out", *flags)) == 0
    assert "--tolerance_criterion has no effect: nothing is quantized after training" in capsys.readouterr().err


def test_training_then_static(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--do_train", "--num_train_epochs", "1", "--apply_pruning", "--target_sparsity", "0.3", "--max_steps", "8")
    static = ("--apply_quantization", "--quantization_approach", "static")
    assert main(world.flags(tmp_path, *both, *static, "--pruning_approach", "magnitude")) == 0, capsys.readouterr().err
    model = load_model(tmp_path)
    dense = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    assert all(fq.enabled for fq in quantizers(model).values())
    rounded: torch.Tensor = dense.weight_fq(dense.weight)  # type: ignore[operator]
    masked = dense.weight == 0
    assert int(masked.sum()) > 0  # type: ignore[union-attr, operator, arg-type]
    assert bool((rounded[masked] == 0).all())


def test_static_needs_training_data(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = world.flags(tmp_path, "--apply_quantization", "--quantization_approach", "static", "--do_eval")
    index = flags.index("--train_file")
    assert main([*flags[:index], *flags[index + 2 :]]) == 2
    assert "calibrated on training data" in capsys.readouterr().err


def test_flag_and_recipe_may_not_differ(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("quantization_modifiers:\n  - !PostTrainingQuantizationModifier {num_calibration_samples: 4}\n")
    flags = world.flags(tmp_path / "out", "--recipe", str(recipe), "--one_shot", "--num_calibration_samples", "5")
    assert main(flags) == 2
    assert "--set PostTrainingQuantizationModifier.num_calibration_samples=5" in " ".join(
        capsys.readouterr().err.split()
    )
