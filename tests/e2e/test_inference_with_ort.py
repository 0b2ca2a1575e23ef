"""``--inference_with_ort``: metrics and predictions of ONNX Runtime, the same as torch's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.train import main
from sparsify.errors import ExportError
from tests.helpers import ner, qa, texts

MODELS = {
    "token_classification": (ner.data_files, lambda folder: ner.model_folder(folder, ner.LABELS)),
    "text_classification": (texts.data_files, lambda folder: texts.model_folder(folder, texts.LABELS)),
    "question_answering": (qa.data_files, lambda folder: qa.model_folder(folder, "QuestionAnswering")),
}


def measured(task: str, folder: Path, out: str, *flags: str) -> dict[str, Any]:
    """Evaluates and predicts; the metrics."""
    argv = [
        "--model_name_or_path",
        str(folder / "model"),
        "--output_dir",
        str(folder / out),
        "--do_eval",
        "--do_predict",
    ]
    for split in ("validation", "test"):
        argv += [f"--{split}_file", str(folder / "data" / f"{split}.jsonl")]
    assert main([task, *argv, "--use_cpu", "--report_to", "none", "--per_device_eval_batch_size", "6", *flags]) == 0
    found: dict[str, Any] = json.loads((folder / out / "all_results.json").read_text())
    return found


def comparable(results: dict[str, Any]) -> dict[str, Any]:
    """Without times, and without what only transformers measures."""
    return {k: v for k, v in results.items() if not k.endswith(("runtime", "per_second", "preparation_time", "epoch"))}


@pytest.mark.parametrize("task", MODELS)
def test_metrics_and_predictions_are_torchs(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_files, model_folder = MODELS[task]
    data_files(tmp_path / "data", other=15)
    model_folder(tmp_path / "model")
    in_torch = measured(task, tmp_path, "torch")
    assert "measured by" not in capsys.readouterr().out
    in_onnx = measured(task, tmp_path, "onnx", "--inference_with_ort")
    assert "ONNX Runtime (CPUExecutionProvider)" in capsys.readouterr().out
    assert comparable(in_onnx) == pytest.approx(comparable(in_torch), rel=1e-4)
    names = {path.name for path in (tmp_path / "torch").iterdir()}
    assert names == {path.name for path in (tmp_path / "onnx").iterdir()}
    for name in names & {"predictions.txt", "predictions.json", "eval_predictions.json"}:
        assert (tmp_path / "onnx" / name).read_text() == (tmp_path / "torch" / name).read_text()


def test_what_cannot_be_exported_is_measured_in_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise ExportError("no operator for this")

    ner.data_files(tmp_path / "data")
    ner.model_folder(tmp_path / "model", ner.LABELS)
    monkeypatch.setattr("sparsify.tasks.inference.export_onnx", refuse)
    found = measured("token_classification", tmp_path, "out", "--inference_with_ort")
    assert {"eval_f1", "predict_f1", "eval_loss"} <= set(found)
    said = capsys.readouterr()
    assert "evaluating in torch, since the model cannot be exported: no operator for this" in " ".join(said.err.split())
    assert "measured by" not in said.out


def test_a_provider_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ner.data_files(tmp_path / "data")
    ner.model_folder(tmp_path / "model", ner.LABELS)
    argv = ["--model_name_or_path", str(tmp_path / "model"), "--output_dir", str(tmp_path / "out"), "--use_cpu"]
    argv += ["--do_eval", "--validation_file", str(tmp_path / "data" / "validation.jsonl"), "--inference_with_ort"]
    assert main(["token_classification", *argv, "--ort_provider", "quantum"]) == 2
    assert "no provider 'quantum' here; there are:" in capsys.readouterr().err
