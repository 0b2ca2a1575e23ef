"""``sparsify-train text_classification`` on a tiny model: train, compress, export, measure, predict."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsify.cli import benchmark, export, predict
from sparsify.cli.train import main
from sparsify.export.checkpoint import load_model
from tests.helpers import ner, texts
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

SEED = "seeds/004_d0d8d2b9b9d0958c.txt"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Pairs of texts, and a dense model of them."""
    root = tmp_path_factory.mktemp("texts")
    base, data = texts.model_folder(root / "base", texts.LABELS), texts.data_files(root / "data", pair=True)
    return World("text_classification", root, base, data, recipe()).learn(12, "--do_eval")


@pytest.fixture(scope="module")
def small(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pruned, quantized and distilled, trained by a process of its own."""
    folder = tmp_path_factory.mktemp("small") / "model"
    said = world.compress(folder)
    assert "validation accuracy" in said
    assert "sparsity of the prunable layers" in said
    return folder


def test_the_dense_model_learns(world: World) -> None:
    assert results(world.dense)["eval_accuracy"] > 0.9
    config = json.loads((world.dense / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert list(config["id2label"].values()) == texts.LABELS


def test_the_recipe_compresses_and_a_fresh_process_measures_the_same(world: World, small: Path, tmp_path: Path) -> None:
    assert encoder_sparsity(small) == pytest.approx(0.5, abs=0.02)
    assert any(name.endswith("input_fq.scale") for name in load_file(small / "model.safetensors"))
    assert results(small)["eval_accuracy"] > 0.8
    assert main(world.flags(tmp_path, "--do_eval", model=small)) == 0
    assert results(tmp_path)["eval_loss"] == pytest.approx(results(small)["eval_loss"], abs=1e-6)
    rows, asked = lines(small / "predictions.jsonl"), lines(world.data["test"])
    assert [row["texts"] for row in rows] == [[row["question"], row["sentence"]] for row in asked]
    right = sum(row["predicted"] == one["label"] for row, one in zip(rows, asked, strict=True))
    assert right / len(rows) == results(small)["predict_accuracy"]


def test_export_measures_and_predicts_as_training_did(
    world: World, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(world.data["validation"])
    assert export.main(["--model_path", str(small), "--samples", data, "--eval", data, "--task", "glue"]) == 0
    report = json.loads((small / "deployment" / "report.json").read_text())
    assert (report["task"], report["precision"]) == ("text_classification", "int8")
    assert report["metrics"]["onnxruntime"]["accuracy"] == pytest.approx(results(small)["eval_accuracy"], abs=0.07)
    assert report["metrics"]["torch"]["accuracy"] == pytest.approx(results(small)["eval_accuracy"])
    deployment = str(small / "deployment")
    assert benchmark.main([deployment, str(small), "--rounds", "2", "--length", "16", "--json"]) == 0
    assert [timing["runtime"] for timing in printed_json(capsys)["timings"]] == ["onnxruntime", "torch"]
    row = lines(world.data["test"])[0]
    pair = [row["question"], "--text_pair", row["sentence"]]
    assert predict.main([deployment, *pair, "--json"]) == 0
    said = printed_json(capsys)
    assert lines(small / "predictions.jsonl")[0]["predicted"] == said["labels"][0]


def test_a_run_cut_in_the_middle_ends_with_the_same_weights(world: World, small: Path, tmp_path: Path) -> None:
    _, cut, *_ = checkpoints(small)
    resume = ("--resume_from_checkpoint", str(cut))
    assert main(world.flags(tmp_path, *world.distilling(), *resume, model=world.dense)) == 0
    assert different_weights(small, tmp_path) == []


def test_a_teacher_with_its_classes_in_another_order_teaches_the_same(
    world: World, small: Path, tmp_path: Path
) -> None:
    model = load_model(world.dense)
    turned: Any = ner.model(list(reversed(texts.LABELS)), head="SequenceClassification")
    flipped = {k: v.flip(0) if k.startswith("classifier") else v for k, v in model.state_dict().items()}
    turned.load_state_dict(flipped)
    turned.save_pretrained(tmp_path / "teacher")
    flags = ("--do_train", "--recipe", str(world.recipe), "--distill_teacher", str(tmp_path / "teacher"))
    assert main(world.flags(tmp_path / "out", *flags, model=world.dense)) == 0
    first, again = load_file(small / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.allclose(first[name], again[name], atol=1e-3) for name in first)


@pytest.mark.parametrize(("kind", "metric"), [("multi", "f1_micro"), ("number", "pearson")])
def test_other_kinds_of_labels_train_compress_and_export(world: World, tmp_path: Path, kind: str, metric: str) -> None:
    model = texts.model_folder(tmp_path / "base")
    files = texts.data_files(tmp_path / "data", 32, 8, kind=kind)
    argv = ["glue", "--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), "--use_cpu"]
    for split, path in files.items():
        argv += [f"--{split}_file", str(path)]
    argv += [
        "--recipe",
        str(world.recipe),
        "--distill_teacher",
        "self",
        "--do_train",
        "--do_eval",
        "--report_to",
        "none",
    ]
    assert main([*argv, "--num_export_samples", "1"]) == 0
    assert f"eval_{metric}" in results(tmp_path / "out")
    data = str(files["validation"])
    assert export.main(["--model_path", str(tmp_path / "out"), "--samples", data, "--eval", data]) == 0
    report = json.loads((tmp_path / "out" / "deployment" / "report.json").read_text())
    assert report["metrics"]["torch"][metric] == pytest.approx(results(tmp_path / "out")[f"eval_{metric}"], abs=1e-4)


def test_one_shot(world: World, tmp_path: Path) -> None:
    flags = ("--one_shot", "--do_eval", "--recipe", str(world.recipe))
    assert main(world.flags(tmp_path, *flags, model=world.dense)) == 0
    assert "train_loss" not in results(tmp_path)
    assert "eval_accuracy" in results(tmp_path)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--input_column_names", "question,sentense"), "did you mean sentence?"),
        (("--task_name", "mrcp"), "did you mean mrpc?"),
        (("--problem_type", "regression"), "is no number, as regression needs"),
        (("--problem_type", "two"), "there is single_label_classification"),
        (("--recipe", "{recipe}"), "disable"),
        (("--recipe", "{recipe}", "--distill_teacher", "{mlm}"), "not trained for text_classification"),
        (("--recipe", "{recipe}", "--distill_teacher", "{other}"), "only the teacher has thing"),
        (("--demo",), "--demo shows token_classification"),
        (("--label_all_tokens",), "unknown flag --label_all_tokens"),
    ],
)
def test_mistakes_are_one_message(
    world: World, tmp_path: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"recipe": world.recipe, "mlm": tmp_path / "mlm", "other": tmp_path / "other"}
    if "{mlm}" in flags:
        texts.model_folder(names["mlm"])
    if "{other}" in flags:
        texts.model_folder(names["other"], ["person", "thing"])
    assert main(world.flags(tmp_path / "out", *(f.format(**names) for f in flags), "--do_train")) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_a_task_of_glue_out_of_reach_is_told(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["mrpc", "--task_name", "mrpc", "--model_name_or_path", str(world.base), "--output_dir", str(tmp_path)]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert "training and evaluating" in said
    assert "could not reach https://huggingface.co for the data set nyu-mll/glue" in said


def dense_commands(shared: Path) -> list[list[str]]:
    """The seed document's commands that prune nothing."""
    text = (shared / SEED).read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^ *python3? (?:\./)?run_glue_no_trainer\.py(.*)$", text, re.MULTILINE)
    return [shlex.split(flags) for flags in found if "--do_prune" not in flags]


@pytest.mark.parametrize("number", [0, 1])
def test_the_seeds_dense_commands_run_with_local_data(world: World, shared: Path, tmp_path: Path, number: int) -> None:
    argv = dense_commands(shared)[number]
    given = dict(zip(argv[::2], argv[1::2], strict=True))
    given |= {"--model_name_or_path": str(world.base), "--output_dir": str(tmp_path / "out")}
    files = texts.data_files(tmp_path / "data", 16, 8, kind="ids", pair=True)
    local = ["--train_file", str(files["train"]), "--validation_file", str(files["validation"]), "--use_cpu"]
    assert main(["text_classification", *(t for pair in given.items() for t in pair), *local]) == 0
    found = results(tmp_path / "out")
    assert found["epoch"] == float(given.get("--num_train_epoch") or given["--num_train_epochs"])
    assert "eval_accuracy" in found
    assert ("eval_f1" in found) == (given["--task_name"] == "mrpc")


def test_real_pairs_are_read(world: World, shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "qnli_mini"
    rows = [json.loads(line) for line in (data / "validation.jsonl").read_text().splitlines()[:16]]
    path = ner.write_jsonl(tmp_path / "pairs.jsonl", rows)
    argv = [
        "qnli",
        "--task_name",
        "qnli",
        "--model_name_or_path",
        str(world.base),
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert main([*argv, "--validation_file", str(path), "--do_eval", "--use_cpu", "--report_to", "none"]) == 0
    assert set(results(tmp_path / "out")) >= {"eval_accuracy", "eval_loss", "eval_samples"}
