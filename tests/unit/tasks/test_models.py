from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from sparsify.errors import InputError, ZooError
from sparsify.export.task import task_by_name
from sparsify.tasks import models
from sparsify.tasks.arguments import ModelArguments
from tests.helpers import ner

ARGS = ModelArguments()
KIND = task_by_name("token_classification")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ner.model_folder(tmp_path_factory.mktemp("models") / "ner", ner.LABELS)


def test_names(folder: Path, tmp_path: Path) -> None:
    assert models.resolve(str(folder), "--model") == str(folder)
    assert models.resolve("owner/name", "--model") == "owner/name"
    with pytest.raises(InputError, match="no such folder"):
        models.resolve("./nowhere", "--model")
    with pytest.raises(InputError, match=r"no config\.json; folders in it that have one: ner"):
        models.resolve(str(folder.parent), "--model")
    with pytest.raises(InputError, match="is a file"):
        models.resolve(str(folder / "config.json"), "--model")
    with pytest.raises(ZooError):
        models.resolve("zoo:no/such", "--model")


def test_a_trained_head_with_the_same_labels_is_kept(folder: Path) -> None:
    config = models.load_config(str(folder), ARGS)
    loaded = models.load(KIND, str(folder), config, ner.LABELS, ARGS)
    assert torch.equal(loaded.model.classifier.weight, ner.model(ner.LABELS).classifier.weight)  # type: ignore[union-attr, arg-type]
    assert loaded.recipe is None


def test_another_number_of_labels_makes_a_new_head_and_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = models.load_config(str(folder), ARGS)
    with caplog.at_level(logging.INFO, "sparsify"):
        model: Any = models.load(KIND, str(folder), config, ["O", "B-x"], ARGS).model
    assert model.classifier.weight.shape[0] == 2
    assert model.config.id2label == {0: "O", 1: "B-x"}
    assert model.config.label2id == {"O": 0, "B-x": 1}
    assert "the classifier head is newly initialised: classifier.bias, classifier.weight" in caplog.text


def test_weights_in_half_precision_are_loaded_in_fp32(tmp_path: Path) -> None:
    ner.model(ner.LABELS).to(torch.bfloat16).save_pretrained(tmp_path)
    config = models.load_config(str(tmp_path), ARGS)
    assert models.load(KIND, str(tmp_path), config, ner.LABELS, ARGS).model.dtype == torch.float32


def test_an_encoder_without_weights_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import load_file, save_file

    ner.model_folder(tmp_path, ner.LABELS)
    file = tmp_path / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if "layer.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING, "sparsify"):
        models.load(KIND, str(tmp_path), models.load_config(str(tmp_path), ARGS), ner.LABELS, ARGS)
    assert "16 tensors of the encoder are not in the weights" in caplog.text


def test_damaged_files_are_one_message(tmp_path: Path) -> None:
    ner.model_folder(tmp_path, ner.LABELS)
    config = models.load_config(str(tmp_path), ARGS)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:300])
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        models.load(KIND, str(tmp_path), config, ner.LABELS, ARGS)
    assert "\n" not in str(caught.value)
    weights.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        models.load(KIND, str(tmp_path), config, ner.LABELS, ARGS)
    (tmp_path / "config.json").write_text("{]")
    with pytest.raises(InputError, match="cannot be loaded"):
        models.load_config(str(tmp_path), ARGS)


def test_a_teacher_must_be_a_trained_classifier(folder: Path, tmp_path: Path) -> None:
    assert models.config_labels(models.load_as_is(KIND, str(folder), ARGS, "--distill_teacher").config) == ner.LABELS
    with pytest.raises(InputError, match="its config says BertForMaskedLM"):
        models.load_as_is(KIND, str(ner.model_folder(tmp_path)), ARGS, "--distill_teacher")
