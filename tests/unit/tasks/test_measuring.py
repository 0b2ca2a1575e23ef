"""Evaluation and prediction at the end of a run: which splits, under which names, by what, and what is written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsify.errors import InputError
from sparsify.tasks import measuring
from sparsify.tasks.base import Job
from sparsify.tasks.catalog import get_task
from sparsify.tasks.inference import Runtime
from sparsify.tasks.measuring import check_inference, measure_splits
from sparsify.tasks.parsing import parse
from sparsify.tasks.prepare import make_trainer, prepare
from tests.helpers import qa, texts

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text classifier and its data; the test file has no labels."""
    root = tmp_path_factory.mktemp("world")
    files = texts.data_files(root, 8, 12)
    rows = [json.loads(line) for line in files["test"].read_text().splitlines()][:5]
    files["test"].write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))
    texts.model_folder(root / "model", texts.LABELS)
    return root


def job_of(folder: Path, *flags: str, task: str = "text_classification") -> Job:
    argv = ["--model_name_or_path", str(folder / "model"), "--output_dir", str(folder / "out"), "--use_cpu"]
    argv += ["--validation_file", str(folder / "validation.jsonl"), "--per_device_eval_batch_size", "5"]
    argv += ["--test_file", str(folder / "test.jsonl"), "--report_to", "none", *flags]
    args = parse(task, argv, frozenset(flag[2:] for flag in argv if flag.startswith("--")))
    return prepare(get_task(task), args)


def measured(job: Job, folder: Path) -> tuple[str, dict[str, Any]]:
    metrics: dict[str, Any] = {}
    return measure_splits(job, make_trainer(job), None, folder, metrics), metrics


def accuracy(job: Job, split: str) -> float:
    """Share of a split's rows whose likeliest class is their label, row by row."""
    hits = []
    for row in job.reading.encoded[split].features:
        inputs = {key: torch.tensor([value]) for key, value in row.items() if key != "labels"}
        with torch.no_grad():
            hits.append(int(job.model.eval()(**inputs).logits.argmax()) == row["labels"])
    return sum(hits) / len(hits)


def predicted(path: Path) -> list[str]:
    """The classes in a file of predictions."""
    return [line.split("\t")[1] for line in path.read_text().splitlines()[1:]]


def test_metrics_are_the_models_and_count_all_examples(folder: Path, tmp_path: Path) -> None:
    job = job_of(folder, "--do_eval", "--do_predict")
    by, metrics = measured(job, tmp_path)
    assert by == "torch"
    assert metrics["eval_accuracy"] == accuracy(job, "validation")
    assert (metrics["eval_samples"], metrics["predict_samples"]) == (12, 5)
    assert "predict_accuracy" not in metrics  # nobody knows the labels
    assert len(predicted(tmp_path / "predictions.txt")) == 5
    assert [path.name for path in tmp_path.glob("*eval*")] == []


def test_only_what_is_asked_for(folder: Path, tmp_path: Path) -> None:
    assert measured(job_of(folder), tmp_path) == ("torch", {})
    _, metrics = measured(job_of(folder, "--do_predict"), tmp_path)
    assert {name.split("_")[0] for name in metrics} == {"predict"}
    _, metrics = measured(job_of(folder, "--do_eval", "--max_eval_samples", "3"), tmp_path)
    assert {name.split("_")[0] for name in metrics} - {"epoch"} == {"eval"}
    assert metrics["eval_samples"] == 3


def second_of_each(job: Job) -> None:
    """Give the job a second split of each kind, as MNLI has, with other rows than the first."""
    for name, rows in (("validation", 7), ("test", 2)):
        job.reading.splits[f"{name}_mm"] = job.reading.splits[name].first(rows)
    job.reading.encode({"input_ids", "attention_mask"})


def test_a_second_split_has_names_of_its_own(folder: Path, tmp_path: Path) -> None:
    job = job_of(folder, "--do_eval", "--do_predict")
    second_of_each(job)
    _, metrics = measured(job, tmp_path)
    assert (metrics["eval_samples"], metrics["eval_mm_samples"]) == (12, 7)
    assert metrics["eval_mm_accuracy"] == accuracy(job, "validation_mm")
    assert metrics["eval_accuracy"] == accuracy(job, "validation")
    assert len(predicted(tmp_path / "predictions.txt")) == 5
    assert len(predicted(tmp_path / "predictions_mm.txt")) == 2


def answering(job: Job, outputs: Callable[[Mapping[str, Array]], list[Array]] | None) -> Callable[..., Any]:
    """In place of the exported model: one that says this; None: it could not be exported."""

    @contextlib.contextmanager
    def runtime(of: Job, recipe: str | None) -> Iterator[Runtime | None]:
        assert of is job
        yield None if outputs is None else Runtime(outputs, ["input_ids", "attention_mask"], "TestProvider")

    return runtime


def test_onnx_runtime_is_what_is_measured(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(folder, "--do_eval", "--do_predict", "--inference_with_ort")
    second_of_each(job)

    def place(inputs: Mapping[str, Array]) -> list[Array]:
        return [np.tile(np.array([[-8.0, 8.0]], np.float32), (len(inputs["input_ids"]), 1))]

    monkeypatch.setattr(measuring, "runtime", answering(job, place))
    by, metrics = measured(job, tmp_path)
    assert by == "ONNX Runtime (TestProvider)"
    assert metrics["eval_accuracy"] == 0.5  # every other row is a place
    assert metrics["eval_loss"] == pytest.approx(8.0, abs=1e-3)  # 16 for persons, next to 0 for places
    assert (metrics["eval_samples"], metrics["eval_mm_samples"], metrics["predict_samples"]) == (12, 7, 5)
    assert metrics["eval_mm_accuracy"] == pytest.approx(3 / 7)
    assert predicted(tmp_path / "predictions.txt") == ["place"] * 5
    assert not [name for name in metrics if name.startswith("predict") and name.endswith(("loss", "accuracy"))]


def test_what_cannot_be_exported_is_measured_in_torch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(folder, "--do_eval", "--inference_with_ort")
    monkeypatch.setattr(measuring, "runtime", answering(job, None))
    by, metrics = measured(job, tmp_path)
    assert (by, metrics["eval_accuracy"]) == ("torch", accuracy(job, "validation"))


def test_a_task_that_writes_validation_does_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qa.data_files(tmp_path, other=4)
    qa.model_folder(tmp_path / "model", "QuestionAnswering")
    for name, runtime in (("torch", None), ("onnx", lambda i: [np.zeros(np.shape(i["input_ids"]), np.float32)] * 2)):
        job = job_of(tmp_path, "--do_eval", "--inference_with_ort", task="question_answering")
        monkeypatch.setattr(measuring, "runtime", answering(job, runtime))
        (tmp_path / name).mkdir()
        _, metrics = measured(job, tmp_path / name)
        assert metrics["eval_samples"] == 4
        written = json.loads((tmp_path / name / "eval_predictions.json").read_text())
        assert len(written) == 4


def test_a_provider_is_looked_for_before_anything_else(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = job_of(folder, "--do_eval", "--inference_with_ort", "--ort_provider", "quantum")
    with pytest.raises(InputError, match="no provider 'quantum' here; there are:"):
        check_inference(job.args)
    check_inference(job_of(folder, "--do_eval", "--inference_with_ort", "--ort_provider", "CPU").args)
    assert not caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--do_eval", "--ort_provider", "quantum"),
            "--ort_provider quantum has no effect without --inference_with_ort",
        ),
        (("--inference_with_ort",), "--inference_with_ort has no effect without --do_eval or --do_predict"),
    ],
)
def test_flags_of_no_effect_are_told(
    flags: tuple[str, ...], message: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "sparsify"):
        check_inference(job_of(folder, *flags).args)
    assert message in caplog.text
