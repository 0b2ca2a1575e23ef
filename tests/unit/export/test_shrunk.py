"""Shrunk models through saving, loading and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from sparsify import export_onnx, load_model
from sparsify.cli import export as command
from sparsify.errors import StateError
from sparsify.export.onnx import export_graph
from sparsify.manager import load_recipe
from sparsify.pruning.shrink import shrink
from sparsify.pruning.structures import find_structures
from tests.helpers.models import FAMILIES, tiny_classifier, token_batch
from tests.helpers.units import half, kill, tiny_vit, uneven


def inputs() -> dict[str, Tensor]:
    return {name: value for name, value in token_batch().items() if name != "labels"}


def widths(model: nn.Module) -> dict[str, int]:
    return {s.name: s.units for s in find_structures(model)}


@pytest.mark.parametrize("family", FAMILIES)
def test_uneven_widths_survive_saving_loading_and_onnx(family: str, tmp_path: Path) -> None:
    model = tiny_classifier(family).eval()
    kill(model, uneven)
    masked = model(**inputs()).logits.detach()
    shrink(model)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert widths(loaded) == widths(model)
    torch.testing.assert_close(loaded(**inputs()).logits, masked, rtol=0, atol=1e-5)
    names = ["input_ids", "attention_mask"]
    export_graph(loaded, tmp_path / "m.onnx", input_names=names, sample=inputs(), output_names=["logits"])
    found = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {n: inputs()[n].numpy() for n in names})[0]
    torch.testing.assert_close(torch.from_numpy(found), masked, rtol=0, atol=1e-5)


@pytest.mark.parametrize("going", [half, uneven])
def test_vision_transformers(going: Any, tmp_path: Path) -> None:
    model = tiny_vit()
    kill(model, going)
    pixels = torch.randn(2, 3, 16, 16)
    masked = model(pixels).logits.detach()
    shrink(model)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert widths(loaded) == widths(model)
    torch.testing.assert_close(loaded(pixels).logits, masked, rtol=0, atol=1e-5)
    sample = {"pixel_values": pixels}
    options = {"input_names": ["pixel_values"], "output_names": ["logits"], "dynamic": False}
    export_graph(loaded, tmp_path / "m.onnx", sample=sample, **options)
    found = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"pixel_values": pixels.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), masked, rtol=0, atol=1e-5)


def test_a_quantized_model_shrinks_saves_and_exports(tmp_path: Path) -> None:
    recipe = "modifiers:\n  - !QuantizationModifier {start_epoch: 0.0}\n"
    model = tiny_classifier("bert").eval()
    kill(model, uneven)
    manager = load_recipe(recipe)
    manager.apply(model, [inputs()])
    masked = model(**inputs()).logits.detach()
    assert manager.shrink(model)
    torch.testing.assert_close(model(**inputs()).logits, masked, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path)
    manager.recipe.save(tmp_path / "recipe.yaml")
    loaded = load_model(tmp_path)
    assert torch.equal(loaded(**inputs()).logits, model(**inputs()).logits)
    assert export_onnx(tmp_path).passed


def test_loading_with_another_head(tmp_path: Path) -> None:
    import transformers as hf

    model = tiny_classifier("bert").eval()
    kill(model, uneven)
    shrink(model)
    model.save_pretrained(tmp_path)
    base = load_model(tmp_path, task_class="BertModel")
    assert isinstance(base, hf.BertModel)
    expected = model.bert(**inputs()).last_hidden_state
    torch.testing.assert_close(base(**inputs()).last_hidden_state, expected)


def test_saving_again_keeps_the_record(tmp_path: Path) -> None:
    model = tiny_classifier("electra").eval()
    kill(model, uneven)
    shrink(model)
    model.save_pretrained(tmp_path / "a")
    load_model(tmp_path / "a").save_pretrained(tmp_path / "b")
    assert widths(load_model(tmp_path / "b")) == widths(model)


def test_a_record_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    model.config.sparsify_widths = {"encoder.layer.5.attention.self": 1}
    model.save_pretrained(tmp_path)
    with pytest.raises(StateError, match=r"recorded is a width of 1 for encoder.layer.5"):
        load_model(tmp_path)


def test_export_with_shrink_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    model = tiny_classifier("bert").eval()
    kill(model, half)
    masked = model(**inputs()).logits.detach()
    model.save_pretrained(tmp_path / "model")
    assert command.main(["--model_path", str(tmp_path / "model"), "--shrink"]) == 0
    assert widths(load_model(tmp_path / "model")) == widths(model)
    file = tmp_path / "model" / "deployment" / "model.onnx"
    session = onnxruntime.InferenceSession(file)
    feed = {i.name: inputs().get(i.name, torch.zeros_like(inputs()["input_ids"])).numpy() for i in session.get_inputs()}
    torch.testing.assert_close(torch.from_numpy(session.run(["logits"], feed)[0]), masked, rtol=0, atol=1e-5)
    export_onnx(model, tmp_path / "dense")
    assert file.stat().st_size < 0.8 * (tmp_path / "dense" / "model.onnx").stat().st_size
