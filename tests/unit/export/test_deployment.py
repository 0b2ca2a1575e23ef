"""Tests of sparsify.export.deployment."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import sparsify.export.onnx as exporter
from sparsify.errors import CheckFailed, InputError
from sparsify.export.deployment import export_onnx
from sparsify.export.session import metadata, open_session


@pytest.fixture
def copied_graph(monkeypatch: pytest.MonkeyPatch, tiny_deployment: Path) -> None:
    """Exporting takes seconds: give the graph that was made before."""
    monkeypatch.setattr(
        exporter, "export_graph", lambda model, path, **_: shutil.copy(tiny_deployment / "model.onnx", path)
    )


def tampered(source: Path, layer_shape: tuple[int, ...]) -> Callable[..., None]:
    """An exporter that gets one weight wrong."""

    def export(model: Any, path: Path, **_: Any) -> None:
        graph = onnx.load(str(source / "model.onnx"))
        tensor = next(t for t in graph.graph.initializer if tuple(t.dims) == layer_shape)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
        onnx.save(graph, str(path))

    return export


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_the_folder_holds_all_it_takes(tiny_deployment: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    assert names(tiny_deployment) == {
        "config.json",
        "model.onnx",
        "report.json",
        "report.md",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert AutoConfig.from_pretrained(tiny_deployment).architectures == ["BertForTokenClassification"]
    assert AutoTokenizer.from_pretrained(tiny_deployment).tokenize("Ada rivers") == ["ada", "river", "##s"]


def test_the_file_carries_task_labels_and_recipe(tiny_int8_deployment: Path) -> None:
    facts = metadata(open_session(tiny_int8_deployment / "model.onnx"))
    recipe = "modifiers: []\n"
    assert facts["recipe"] == recipe == (tiny_int8_deployment / "recipe.yaml").read_text()
    assert facts["recipe_sha256"] == hashlib.sha256(recipe.encode()).hexdigest()
    assert facts["task"] == "token_classification"
    assert json.loads(facts["labels"])[:2] == ["O", "B-person"]
    assert (facts["precision"], facts["max_length"]) == ("int8", "32")


def test_the_file_does_not_tell_of_the_machine_it_was_made_on(tiny_deployment: Path) -> None:
    assert str(Path(exporter.__file__).parent).encode() not in (tiny_deployment / "model.onnx").read_bytes()


def test_the_report_says_what_was_measured(tiny_deployment: Path) -> None:
    report = json.loads((tiny_deployment / "report.json").read_text())
    assert report["verification"]["passed"] is True
    assert report["verification"]["parity"]["max_difference"] <= 1e-4
    assert report["verification"]["parity"]["data"] == "generated"
    assert report["precision"] == "fp32"
    assert report["files"]["model.onnx"] == (tiny_deployment / "model.onnx").stat().st_size
    assert report["model"]["sparsity_prunable"] > 0
    page = (tiny_deployment / "report.md").read_text()
    assert "sparsity of the prunable layers" in page
    assert "sparsity of the whole model" in page
    assert "largest logit difference" in page


def test_int8_is_smaller_and_proven(tiny_int8_deployment: Path) -> None:
    report = json.loads((tiny_int8_deployment / "report.json").read_text())
    checked = report["verification"]
    assert report["precision"] == "int8"
    assert checked["passed"] is True
    assert checked["operators"]["float_ops"] == []
    assert checked["weights"]["int8"] == checked["weights"]["identical"] == len(checked["weights"]["layers"])
    assert checked["parity"]["agreement"] >= 0.995


@pytest.mark.usefixtures("copied_graph")
def test_a_contradicting_task_is_one_warning(ner_copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = export_onnx(ner_copy, task="text_classification")
    assert report.task == "token_classification"
    assert report.deployment == ner_copy / "deployment"
    assert [r.getMessage() for r in caplog.records if r.name.startswith("sparsify")] == report.warnings
    assert len(report.warnings) == 1
    with pytest.raises(InputError, match="--task token_classification"):
        export_onnx(ner_copy, task="text_classification", strict=True)


@pytest.mark.usefixtures("copied_graph")
def test_samples_and_tolerance_are_in_the_report(ner_copy: Path) -> None:
    report = export_onnx(ner_copy, samples=["Ada met Charles.", ["rivers", "in", "paris"]], tolerance=0.01)
    assert report.verification is not None
    parity = report.verification.parity
    assert (parity.data, parity.tolerance, parity.loosened) == ("samples", 0.01, True)
    assert len(parity.shapes) > 1
    assert "loosened from 0.0001" in (ner_copy / "deployment" / "report.md").read_text()


def test_a_wrong_graph_fails_and_the_old_one_stays(
    ner_copy: Path, tiny_deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "export_graph", tampered(tiny_deployment, (64, 32)))
    (ner_copy / "deployment" / "notes.txt").write_text("mine")
    with pytest.raises(CheckFailed) as caught:
        export_onnx(ner_copy)
    message = str(caught.value)
    assert "first layer to differ is bert.encoder.layer.0.output.dense" in message
    assert "weights: 1 of 16 layers differ from the model, bert.encoder.layer.0.output.dense" in message
    assert "earlier export was kept" in message
    assert caught.value.exit_code == 1
    assert names(ner_copy / "deployment") == names(tiny_deployment) | {"notes.txt"}
    assert names(ner_copy) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "deployment",
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_export_leaves_the_old_one_whole(
    ner_copy: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    before = (ner_copy / "deployment" / "model.onnx").read_bytes()
    monkeypatch.setattr(exporter, "export_graph", broken)
    with pytest.raises(error):
        export_onnx(ner_copy)
    assert (ner_copy / "deployment" / "model.onnx").read_bytes() == before
    assert not [name for name in names(ner_copy) if name.startswith(".")]


@pytest.mark.usefixtures("copied_graph")
def test_without_verification_nothing_is_claimed(ner_copy: Path) -> None:
    report = export_onnx(ner_copy, verify=False)
    assert report.verification is None
    assert report.passed is None
    assert "nothing is known" in (ner_copy / "deployment" / "report.md").read_text()


@pytest.mark.usefixtures("copied_graph")
def test_the_metric_is_called_for_both_runtimes(ner_copy: Path) -> None:
    shapes = []

    def evaluate(source: Any, outputs: Any) -> dict[str, float]:
        inputs = {name: np.array([[1, 1, 1, 1]]) for name in source.inputs}
        (logits,) = outputs(inputs)
        shapes.append(logits.shape)
        return {"mean": float(logits.mean())}

    report = export_onnx(ner_copy, evaluate=evaluate)
    assert shapes == [(1, 4, 5), (1, 4, 5)]
    assert report.metrics is not None
    assert report.metrics["torch"]["mean"] == pytest.approx(report.metrics["onnxruntime"]["mean"], abs=1e-5)
    assert "## Metric" in (ner_copy / "deployment" / "report.md").read_text()


def test_a_model_in_memory_is_left_as_it_was(
    make_tiny_bert, tmp_path: Path, tiny_deployment: Path, monkeypatch
) -> None:
    seen: dict[str, Any] = {}

    def export(model: Any, path: Path, **kwargs: Any) -> None:
        seen.update(kwargs, training=model.training)
        shutil.copy(tiny_deployment / "model.onnx", path)

    monkeypatch.setattr(exporter, "export_graph", export)
    model = make_tiny_bert().train()
    export_onnx(model, tmp_path / "out", verify=False)
    assert model.training
    assert seen["training"] is False
    assert seen["input_names"] == ["input_ids", "attention_mask"]
    assert seen["sample"]["input_ids"].shape == (2, 16)
    assert seen["dynamic"] is True
    with pytest.raises(InputError, match="output_dir"):
        export_onnx(model)


def test_a_fixed_shape(make_tiny_bert, tmp_path: Path) -> None:
    report = export_onnx(make_tiny_bert(num_hidden_layers=1), tmp_path / "fixed", shapes=(1, 8))
    assert report.verification is not None
    assert report.verification.parity.shapes == ((1, 8),)
    assert open_session(tmp_path / "fixed" / "model.onnx").get_inputs()[0].shape == [1, 8]


@pytest.mark.parametrize("shapes", [(0, 8), (1, 0), (1, 33)])
def test_impossible_shapes(ner_copy: Path, shapes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="from 1 to 32"):
        export_onnx(ner_copy, shapes=shapes)


class TestBadInput:
    def test_a_missing_folder_names_a_near_one(self, ner_copy: Path) -> None:
        with pytest.raises(InputError, match=r"Did you mean .*ner\?"):
            export_onnx(ner_copy.parent / "nre")

    def test_a_folder_of_checkpoints_names_the_last(self, ner_copy: Path) -> None:
        shutil.move(ner_copy, ner_copy.parent / "run" / "checkpoint-5")
        with pytest.raises(InputError, match=r"no config\.json.*Did you mean .*checkpoint-5"):
            export_onnx(ner_copy.parent / "run")

    @pytest.mark.parametrize("text", ["{", "[]"])
    def test_a_broken_config(self, ner_copy: Path, text: str) -> None:
        (ner_copy / "config.json").write_text(text)
        with pytest.raises(InputError, match=r"config\.json"):
            export_onnx(ner_copy)

    def test_a_truncated_weights_file(self, ner_copy: Path) -> None:
        weights = ner_copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(InputError, match="weights"):
            export_onnx(ner_copy)

    def test_an_unwritable_place_is_found_before_the_model_is_loaded(self, ner_copy: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        (ner_copy / "model.safetensors").unlink()
        with pytest.raises(InputError, match="cannot be written"):
            export_onnx(ner_copy, tmp_path / "file" / "deployment")

    def test_the_model_folder_is_never_replaced(self, ner_copy: Path) -> None:
        for target in (ner_copy, ner_copy.parent):
            with pytest.raises(InputError, match="would replace the model folder"):
                export_onnx(ner_copy, target)

    def test_samples_without_tokenizer(self, ner_copy: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (ner_copy / name).unlink()
        with pytest.raises(InputError, match="no tokenizer"):
            export_onnx(ner_copy, samples=["Ada"])

    def test_no_samples_at_all(self, ner_copy: Path) -> None:
        with pytest.raises(InputError, match="max_samples must be at least 1, got 0"):
            export_onnx(ner_copy, max_samples=0)

    def test_a_negative_tolerance(self, ner_copy: Path) -> None:
        with pytest.raises(InputError, match="at least 0, got -1"):
            export_onnx(ner_copy, tolerance=-1)


def test_the_folder_loads_in_optimum(tiny_deployment: Path) -> None:
    reason = "optimum[onnxruntime] is not installed, or not made for this transformers"
    optimum = pytest.importorskip("optimum.onnxruntime", reason=reason, exc_type=ImportError)
    import torch

    theirs = optimum.ORTModelForTokenClassification.from_pretrained(tiny_deployment)
    ids = torch.tensor([[2, 5, 6, 3]])
    logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids)).logits
    assert logits.shape == (1, 4, 5)
    assert theirs.config.id2label[1] == "B-person"
