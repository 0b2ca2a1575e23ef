"""``--generate_teacher_logits`` through the command: same losses as a teacher that runs, and nothing asked twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.train import main
from tests.helpers import ner, qa, texts

MODELS = {
    "token_classification": (ner.data_files, lambda folder, seed: ner.model_folder(folder, ner.LABELS, seed=seed)),
    "text_classification": (texts.data_files, lambda folder, seed: texts.model_folder(folder, texts.LABELS, seed=seed)),
    "question_answering": (qa.data_files, lambda folder, seed: qa.model_folder(folder, "QuestionAnswering", seed=seed)),
}


LAYERS = """
training_modifiers: [!EpochRangeModifier {start_epoch: 0, end_epoch: 2}]
distillation_modifiers:
  - !DistillationModifier {hardness: 0.5, temperature: 2.0}
  - !HiddenStateDistillationModifier {gain: 2.0}
"""


@pytest.fixture(params=MODELS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A task's name, and a folder with data, a student and a teacher."""
    data_files, model_folder = MODELS[request.param]
    data_files(tmp_path / "data", train=24)
    for seed, name in enumerate(("student", "teacher")):
        model_folder(tmp_path / name, seed)
    monkeypatch.setenv("SPARSIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return request.param, tmp_path


def trained(task: str, folder: Path, *flags: str, out: str = "out") -> list[float]:
    """Runs a distilled training; the loss of each step."""
    (file,) = (folder / "data").glob("train.*")
    argv = {"model_name_or_path": "student", "train_file": str(file), "output_dir": out, "logging_steps": "1"}
    argv |= {"num_train_epochs": "2", "per_device_train_batch_size": "5", "learning_rate": "1e-3"}
    given = [token for name, value in argv.items() for token in (f"--{name}", value)]
    teacher = [] if "--distill_teacher" in flags else ["--teacher_model_name_or_path", "teacher"]
    distil = [] if "--recipe" in flags else ["--apply_distillation"]
    common = [*given, *teacher, *distil, "--do_train", "--use_cpu", "--report_to", "none"]
    assert main([task, *common, *flags]) == 0
    log: list[dict[str, Any]] = json.loads((folder / out / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in log if "loss" in entry]


def test_losses_are_those_of_a_teacher_that_runs(world: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    task, folder = world
    running = trained(task, folder)
    kept = trained(task, folder, "--generate_teacher_logits", out="kept")
    assert len(kept) == 10
    assert kept == pytest.approx(running, rel=1e-5)
    assert "24 of 24 examples asked about now" in capsys.readouterr().err
    padded = trained(task, folder, "--generate_teacher_logits", "--pad_to_max_length", out="padded")
    assert padded == pytest.approx(running, rel=1e-4)
    assert "found for all 24 examples" in " ".join(capsys.readouterr().err.split())


def test_layers_of_a_recipe_are_kept_too(world: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    task, folder = world
    (folder / "layers.yaml").write_text(LAYERS)
    flags = ("--recipe", "layers.yaml")
    running = trained(task, folder, *flags)
    assert trained(task, folder, *flags, "--generate_teacher_logits", out="kept") == pytest.approx(running, rel=1e-5)
    (file,) = (folder / "cache" / "teachers").rglob("part-*.safetensors")
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stream:
        names = list(stream.keys())
    assert {"token layer bert", "lengths"} < set(names)
    assert len(names) == (4 if task == "question_answering" else 3)


def test_the_student_can_be_its_own_teacher(world: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    task, folder = world
    flags = ("--distill_teacher", "self", "--loss_types", "CE", "KL")
    running = trained(task, folder, *flags)
    assert trained(task, folder, *flags, "--generate_teacher_logits", out="kept") == pytest.approx(running, rel=1e-5)


def test_stored_in_half_precision_it_is_another_file(world: tuple[str, Path]) -> None:
    task, folder = world
    exact = trained(task, folder, "--generate_teacher_logits", "--teacher_cache_dir", "own")
    half = trained(
        task, folder, "--generate_teacher_logits", "--teacher_cache_dir", "own", "--teacher_logits_dtype", "float16"
    )
    assert half == pytest.approx(exact, rel=1e-2)
    assert half != exact
    assert len(list((folder / "own").iterdir())) == 2
    assert not (folder / "cache").exists()


def test_without_distillation_it_says_so(world: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    task, folder = world
    (file,) = (folder / "data").glob("train.*")
    argv = ["--model_name_or_path", "student", "--train_file", str(file), "--output_dir", "out", "--use_cpu"]
    assert main([task, *argv, "--do_train", "--max_steps", "1", "--generate_teacher_logits"]) == 0
    assert "--generate_teacher_logits has no effect" in capsys.readouterr().err
