"""Tests of sparsify.cli.export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import sparsify.export.onnx as exporter
from sparsify.cli.export import main, parser


@pytest.fixture(autouse=True)
def _copied_graph(monkeypatch: pytest.MonkeyPatch, tiny_deployment: Path) -> None:
    """Exporting takes seconds: give the graph that was made before."""
    monkeypatch.setattr(
        exporter, "export_graph", lambda model, path, **_: shutil.copy(tiny_deployment / "model.onnx", path)
    )


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = [
        {"tokens": ["Ada", "Lovelace", "met", "Charles"], "ner_tags": ["B-person", "I-person", "O", "B-person"]},
        {"tokens": ["in", "London", "."], "ner_tags": ["O", "B-place", "O"]},
    ]
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_command_of_the_tutorial(ner_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model_path", str(ner_copy), "--task", "text_classification"]) == 0
    out, err = capsys.readouterr()
    assert "sparsity of the prunable layers" in out
    assert "sparsity of the whole model" in out
    assert [line for line in err.splitlines() if line.startswith("warning: ")] == [
        "warning: --task text_classification contradicts the checkpoint, which is BertForTokenClassification: "
        "exporting it as token_classification."
    ]


def test_strict(ner_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model_path", str(ner_copy), "--task", "glue", "--strict"]) == 2
    assert "Pass --task token_classification" in capsys.readouterr().err


def test_output_dir_and_json(ner_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "elsewhere"
    assert main(["--model_path", str(ner_copy), "--output_dir", str(target), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((target / "report.json").read_text())
    assert report["deployment"] == str(target)


def test_samples_and_eval(ner_copy: Path, labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model_path", str(ner_copy), "--samples", str(labelled), "--eval", str(labelled)]
    assert main([*flags, "--tolerance", "0.001"]) == 0
    assert "f1" in capsys.readouterr().out
    report = json.loads((ner_copy / "deployment" / "report.json").read_text())
    assert report["verification"]["parity"]["data"] == "samples"
    assert set(report["metrics"]) == {"torch", "onnxruntime"}
    assert report["metrics"]["torch"] == pytest.approx(report["metrics"]["onnxruntime"])
    assert set(report["metrics"]["torch"]) == {"precision", "recall", "f1", "accuracy"}


def test_eval_with_labels_the_model_lacks(ner_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"tokens": ["Ada"], "ner_tags": ["B-robot"]}))
    assert main(["--model_path", str(ner_copy), "--eval", str(tmp_path / "x.jsonl")]) == 2
    assert "B-robot" in capsys.readouterr().err


def test_a_missing_eval_file_is_found_before_the_export(ner_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (ner_copy / "deployment" / "report.json").stat().st_mtime_ns
    assert main(["--model_path", str(ner_copy), "--eval", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
    assert (ner_copy / "deployment" / "report.json").stat().st_mtime_ns == before


def test_failed_parity_is_exit_code_1(ner_copy: Path, make_tiny_bert: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_tiny_bert(seed=1).save_pretrained(ner_copy)
    assert main(["--model_path", str(ner_copy)]) == 1
    err = capsys.readouterr().err
    assert "parity: largest logit difference" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch_size", "2"], "--batch_size needs --sequence_length"),
        (["--sequence_length", "64"], "from 1 to 32"),
        (["--no_convert_qat"], "always exported as int8"),
        (["--task", "nre"], "Did you mean ner"),
        (["--samples", "nowhere.txt"], "nowhere.txt"),
        (["--tolerance", "-1"], "at least 0"),
    ],
)
def test_bad_flags(ner_copy: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model_path", str(ner_copy), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_flags_of_old_that_do_nothing_are_said(ner_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model_path", str(ner_copy), "--finetuning_task", "ner", "--trust_remote_code", "true"]) == 0
    err = capsys.readouterr().err
    assert "--finetuning_task does nothing here" in err
    assert "--trust_remote_code does nothing here" in err


def test_flags_are_never_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model_pat", "x"]) == 2
    assert "--model_path" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "sparsify-export --model_path" in capsys.readouterr().out
    assert "%" not in parser().format_help()
