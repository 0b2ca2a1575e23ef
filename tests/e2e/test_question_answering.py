"""``sparsify-train question_answering`` on a tiny model: train, compress, export, measure, predict."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sparsify.cli import benchmark, export, predict
from sparsify.cli.train import main
from tests.helpers import ner, qa
from tests.helpers.runs import (
    World,
    checkpoints,
    different_weights,
    encoder_sparsity,
    lines,
    printed_json,
    recipe,
    results,
)
from tests.unit.tasks.seed_commands import PATTERN_LOCK


def make_world(root: Path, *options: str, negatives: bool = False) -> World:
    """Questions, with answers or without, and a dense model of them."""
    data = qa.data_files(root / "data", train=192, negatives=negatives)
    text = recipe("qa_outputs", rate=2e-3, sparsity=0.3)
    made = World("question_answering", root, qa.model_folder(root / "base"), data, text, *options)
    return made.learn(12, "--do_eval", "--do_predict")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def negatives(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("negatives"), "--version_2_with_negative", negatives=True)


@pytest.fixture(scope="module")
def small(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pruned, quantized and distilled, trained by a process of its own."""
    folder = tmp_path_factory.mktemp("small") / "model"
    said = world.compress(folder)
    assert "validation exact_match" in said
    assert "sparsity of the prunable layers" in said
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


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
    assert encoder_sparsity(small) == pytest.approx(0.3, abs=0.02)
    assert any(name.endswith("input_fq.scale") for name in load_file(small / "model.safetensors"))
    assert results(small)["eval_f1"] > 70
    assert main(world.flags(tmp_path, "--do_eval", model=small)) == 0
    assert results(tmp_path)["eval_loss"] == pytest.approx(results(small)["eval_loss"], abs=1e-6)
    assert read(tmp_path / "eval_predictions.json") == read(small / "eval_predictions.json")


def test_a_run_cut_in_the_middle_ends_with_the_same_weights(world: World, small: Path, tmp_path: Path) -> None:
    _, cut, *_ = checkpoints(small)
    resume = ("--resume_from_checkpoint", str(cut))
    assert main(world.flags(tmp_path, *world.distilling(), *resume, model=world.dense)) == 0
    assert different_weights(small, tmp_path) == []


def test_export_measures_and_predicts_as_training_did(
    world: World, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(world.data["validation"])
    samples = str(world.data["train"])  # nested
    assert export.main(["--model_path", str(small), "--samples", samples, "--eval", data, "--task", "qa"]) == 0
    deployment = small / "deployment"
    report = read(deployment / "report.json")
    assert (report["task"], report["precision"], report["labels"]) == ("question_answering", "int8", [])
    assert report["verification"]["parity"]["counted"] == 2 * 192
    assert report["metrics"]["torch"]["f1"] == pytest.approx(results(small)["eval_f1"])
    assert report["metrics"]["onnxruntime"]["f1"] == pytest.approx(results(small)["eval_f1"], abs=7)
    assert benchmark.main([str(deployment), str(small), "--rounds", "2", "--length", "16", "--json"]) == 0
    assert [timing["runtime"] for timing in printed_json(capsys)["timings"]] == ["onnxruntime", "torch"]
    asked, said = lines(world.data["test"]), read(small / "predictions.json")
    same = 0
    for row in asked[:6]:
        assert predict.main([str(deployment), row["question"], "--context", row["context"], "--json"]) == 0
        same += printed_json(capsys)["answer"] == said[row["id"]]
    assert same >= 5


def test_a_dense_model_answers_the_same_in_onnx_runtime(negatives: World, tmp_path: Path) -> None:
    data = str(negatives.data["test"])
    argv = ["--model_path", str(negatives.dense), "--eval", data, "--output_dir", str(tmp_path / "deployment")]
    assert export.main(argv) == 0
    metrics = read(tmp_path / "deployment" / "report.json")["metrics"]
    trained = {k.removeprefix("predict_"): v for k, v in results(negatives.dense).items() if k.startswith("predict_")}
    for name in ("exact_match", "f1", "HasAns_f1", "NoAns_f1", "best_f1", "best_f1_thresh"):
        assert metrics["onnxruntime"][name] == pytest.approx(metrics["torch"][name], abs=1e-3)
        assert metrics["torch"][name] == pytest.approx(trained[name], abs=1e-3)


def test_one_shot(world: World, tmp_path: Path) -> None:
    flags = ("--one_shot", "--do_eval", "--recipe", str(world.recipe), "--num_export_samples", "2")
    assert main(world.flags(tmp_path, *flags, model=world.dense)) == 0
    assert "train_loss" not in results(tmp_path)
    assert "eval_exact_match" in results(tmp_path)
    assert sorted(p.name for p in (tmp_path / "sample-labels").iterdir()) == ["lab-0000.npz", "lab-0001.npz"]


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read(folder / "trainer_state.json")["log_history"] if "loss" in entry]


def test_a_step_in_parts_and_a_kept_teacher_change_no_loss(world: World, tmp_path: Path) -> None:
    rows = qa.rows(20, 3)
    rows[3]["answers"]["text"] = ["nowhere"]  # its window is left out, and no teacher's answer may move up for it
    train = str(ner.write_jsonl(tmp_path / "train.jsonl", rows))
    common = ["question_answering", "--model_name_or_path", str(world.base), "--train_file", train, "--do_train"]
    common += ["--apply_distillation", "--teacher_model_name_or_path", str(world.dense), "--loss_types", "CE", "KL"]
    common += ["--logging_steps", "1", "--num_train_epochs", "2", "--use_cpu", "--report_to", "none"]
    common += ["--teacher_cache_dir", str(tmp_path / "teachers"), "--learning_rate", "1e-3"]
    for name, flags in {
        "plain": ("--per_device_train_batch_size", "8"),
        "parts": ("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"),
        "kept": ("--per_device_train_batch_size", "8", "--generate_teacher_logits"),
    }.items():
        assert main([*common, *flags, "--output_dir", str(tmp_path / name)]) == 0
    assert len(losses(tmp_path / "plain")) == 6  # 19 windows
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


def test_two_processes_train_and_write_one_set_of_files(world: World, tmp_path: Path) -> None:
    flags = ("--do_train", "--do_eval", "--do_predict", "--recipe", str(world.recipe), "--ddp_backend", "gloo")
    argv = world.flags(tmp_path, *flags, "--distill_teacher", str(world.dense), model=world.dense)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "sparsify.cli.train"]
    run = subprocess.run([*launch, *argv], capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("validation exact_match") == 1
    assert results(tmp_path)["eval_samples"] == 16
    assert list(read(tmp_path / "predictions.json")) == [row["id"] for row in lines(world.data["test"])]
    alone = tmp_path / "alone"
    assert main(world.flags(alone, "--do_eval", model=tmp_path)) == 0
    assert results(alone)["eval_f1"] == pytest.approx(results(tmp_path)["eval_f1"])
    assert read(alone / "eval_predictions.json") == read(tmp_path / "eval_predictions.json")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--doc_stride", "24", "--max_seq_length", "24"), "--doc_stride 24 must be below --max_seq_length 24"),
        (("--doc_stride", "23"), "--doc_stride 23: windows of --max_seq_length 24 share from 0 to 20 sub-tokens"),
        (("--max_seq_length", "6"), "leaves no room for a question and its context"),
        (("--n_best_size", "0"), "--n_best_size must be at least 1"),
        (("--input_column_names", "question,contxt"), "no column 'contxt'"),
        (("--label_column_name", "golds"), "no column 'golds'"),
        (("--train_file", "{negatives}"), "questions have no answer, this the first: give --version_2_with_negative"),
        (("--label_smoothing_factor", "0.1"), "--label_smoothing_factor is for classes"),
        (("--recipe", "{recipe}"), "disable"),
        (("--recipe", "{recipe}", "--distill_teacher", "{base}"), "not trained for question_answering"),
    ],
)
def test_mistakes_are_one_message(
    world: World,
    negatives: World,
    tmp_path: Path,
    flags: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"recipe": world.recipe, "base": world.base, "negatives": negatives.data["train"]}
    assert main(world.flags(tmp_path / "out", *(f.format(**names) for f in flags), "--do_train")) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("name", "moved"), [("squad", "rajpurkar/squad"), ("squad_v2", "rajpurkar/squad_v2")])
def test_a_data_set_out_of_reach_is_told(
    world: World, tmp_path: Path, name: str, moved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["qa", "--model_name_or_path", str(world.base), "--output_dir", str(tmp_path), "--do_eval"]
    assert main([*argv, "--dataset_name", name]) == 2
    assert f"could not reach https://huggingface.co for the data set {moved}" in capsys.readouterr().err


SEED = "seeds/001_19eee71133473a29.txt"


def seed_commands(shared: Path) -> list[list[str]]:
    text = (shared / SEED).read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        shlex.split(flags) for flags in re.findall(r"^ *python run_qa(?:_post_training)?\.py(.*)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_seeds_commands_run_with_local_data_and_models(
    world: World, shared: Path, tmp_path: Path, number: int
) -> None:
    commands = seed_commands(shared)
    assert len(commands) == 5
    words = iter(commands[number])
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            given[word[2:]] = values = []
        else:
            values.append(word)
    config = tmp_path / "prune_pattern_lock.yml"
    config.write_text(PATTERN_LOCK)
    local = {"model_name_or_path": world.dense, "teacher_model_name_or_path": world.dense, "pruning_config": config}
    local["output_dir"] = tmp_path / "out"
    given |= {name: [str(path)] for name, path in local.items() if name in given}
    argv = [token for name, value in given.items() if name != "dataset_name" for token in (f"--{name}", *value)]
    argv += ["--validation_file", str(world.data["validation"]), "--use_cpu", "--report_to", "none"]
    argv += ["--train_file", str(world.data["train"])]
    if "apply_distillation" in given:
        argv += ["--teacher_cache_dir", str(tmp_path / "teachers")]
    assert main(["question_answering", *argv]) == 0
    found = results(tmp_path / "out")
    assert found["epoch"] == float(given.get("num_train_epochs", ["0"])[0])
    assert "eval_f1" in found
