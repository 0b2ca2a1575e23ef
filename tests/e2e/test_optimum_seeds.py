"""The commands of optimum's and optimum-intel's token classification examples, with only names and places changed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sparsify.cli.train import main
from sparsify.export.checkpoint import load_model
from sparsify.quantization.layers import quantizers
from tests.helpers import ner
from tests.helpers.runs import results
from tests.helpers.seed import changed

COMPRESSION, TRAINING = "seeds/000_81bff504b42e2c61.txt", "seeds/003_264e06f97acc564f.txt"


def commands(shared: Path, document: str) -> list[list[str]]:
    """What follows ``run_ner*.py`` in each command."""
    text = (shared / document).read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(m.group(1)) for m in re.finditer(r"^\w.* run_ner\w*\.py[ ]+(--.*)$", text, re.MULTILINE)]


def local(argv: list[str], folder: Path) -> list[str]:
    """``argv`` with a model, a teacher and data that are here."""
    places = {"model_name_or_path": "model", "teacher_model_name_or_path": "teacher", "output_dir": "out"}
    argv = changed(argv, dataset_name=None, **{flag: str(folder / name) for flag, name in places.items()})
    files = [("train_file", "train"), ("validation_file", "validation")]
    return [*argv, *(t for flag, name in files for t in (f"--{flag}", str(folder / "data" / f"{name}.jsonl")))]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    ner.data_files(tmp_path / "data", train=24, other=8)
    for seed, name in enumerate(("model", "teacher")):
        ner.model_folder(tmp_path / name, ner.LABELS, seed=seed)
    return tmp_path


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_compresses_and_what_it_saved_loads(
    shared: Path, number: int, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = commands(shared, COMPRESSION)
    assert len(found) == 3
    argv = local(found[number], world)
    assert "--verify_loading" in argv
    assert main(["token_classification", *argv, "--report_to", "none"]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "in a fresh process" in said.out
    assert " NO " not in said.out
    assert "validation f1" in said.out
    assert "eval_f1" in results(world / "out")
    model = load_model(world / "out")
    assert quantizers(model)
    recipe = (world / "out" / "recipe.yaml").read_text()
    assert ("!DistillationModifier" in recipe) == (number == 1)
    if number == 2:
        weights = {n: w for n, w in load_file(world / "out" / "model.safetensors").items() if ".encoder." in n}
        pruned = [w for n, w in weights.items() if n.endswith("weight") and w.dim() == 2]
        share = sum(int((w == 0).sum()) for w in pruned) / sum(w.numel() for w in pruned)
        assert share == pytest.approx(0.1, abs=5e-3)


def torchrun(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in two processes on the CPU."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launcher, "-m", "sparsify.cli.train", "token_classification", *argv]
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here, "SPARSIFY_CACHE": str(folder / "cache")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)


def test_two_processes_train_and_onnx_runtime_evaluates(shared: Path, world: Path) -> None:
    (argv,) = commands(shared, TRAINING)
    argv = [*local(argv, world), "--num_train_epochs", "1", "--logging_steps", "1", "--report_to", "none"]
    argv += ["--apply_distillation", "--teacher_model_name_or_path", str(world / "teacher")]
    done = torchrun(
        [*argv, "--per_device_train_batch_size", "4", "--generate_teacher_logits", "--inference_with_ort"], world
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ONNX Runtime (CPUExecutionProvider)" in done.stdout
    assert len(list((world / "cache" / "teachers").iterdir())) == 1
    alone = changed(argv, output_dir=str(world / "alone"))
    alone += ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2", "--use_cpu"]
    assert main(["token_classification", *alone]) == 0
    two, one = results(world / "out"), results(world / "alone")
    assert len(losses(world / "out")) == 3
    assert losses(world / "out") == pytest.approx(losses(world / "alone"), rel=1e-5)
    assert two["eval_f1"] == one["eval_f1"]
    assert two["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-4)


def losses(folder: Path) -> list[float]:
    state = json.loads((folder / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]
