"""Folders with the keys that SparseML's quantization-aware training left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsify import load_model
from sparsify.errors import InputError
from sparsify.quantization.layers import QLinear, quantizers
from tests.helpers.models import tiny_classifier

RECIPE = (
    "quantization_modifiers:\n  - !QuantizationModifier\n    start_epoch: 0.0\n"
    "    submodules: [bert.embeddings, bert.encoder, classifier]\n"
)
QUERY = "bert.encoder.layer.0.attention.self.query"


def observer(prefix: str, scale: float, zero: int = 0, on: int = 1) -> dict[str, Tensor]:
    return {
        f"{prefix}.fake_quant_enabled": torch.tensor([on], dtype=torch.uint8),
        f"{prefix}.observer_enabled": torch.tensor([0], dtype=torch.uint8),
        f"{prefix}.scale": torch.tensor([scale]),
        f"{prefix}.zero_point": torch.tensor([zero], dtype=torch.int32),
        f"{prefix}.activation_post_process.min_val": torch.tensor(-1.0),
        f"{prefix}.activation_post_process.max_val": torch.tensor(1.0),
        f"{prefix}.activation_post_process.eps": torch.tensor([1e-7]),
    }


def wrapped(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with Linear layers in QuantWrappers and embeddings with fake quantizers of their own."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            for part in ("weight", "bias"):
                state[f"{name}.module.{part}"] = state.pop(f"{name}.{part}")
            state |= observer(f"{name}.quant.activation_post_process", 0.02, 117)
            state |= observer(f"{name}.module.weight_fake_quant", 0.001)
        elif isinstance(module, nn.Embedding):
            state |= observer(f"{name}.weight_fake_quant", 0.002)
    state |= observer("bert.encoder.layer.0.attention.self.matmul.input_quant_stubs.0.activation_post_process", 0.1, 9)
    return state


def folder_of(tmp_path: Path, state: dict[str, Tensor], recipe: str | None = RECIPE, old: bool = False) -> Path:
    model: Any = tiny_classifier()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    if old:
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state, tmp_path / "model.safetensors")
    if recipe is not None:
        (tmp_path / "recipe.yaml").write_text(recipe)
    return tmp_path


@pytest.mark.parametrize("old", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("recipe", [RECIPE, None], ids=["int8", "float"])
def test_weights_and_ranges_are_read(old: bool, recipe: str | None, tmp_path: Path) -> None:
    model = tiny_classifier(seed=3)
    again = load_model(folder_of(tmp_path, wrapped(model), recipe, old))
    for name, weight in model.named_parameters():
        assert torch.equal(again.get_parameter(name), weight), name
    assert bool(quantizers(again)) == (recipe is not None)
    if recipe is not None:
        query = again.get_submodule(QUERY)
        assert isinstance(query, QLinear)
        assert query.input_fq is not None
        assert (float(query.input_fq.scale), int(query.input_fq.zero_point)) == (pytest.approx(0.02), 117)
        assert query.input_fq.enabled
        assert query.weight_fq.enabled
        assert torch.equal(query.weight_fq.scale, model.get_parameter(f"{QUERY}.weight").abs().amax(1) / 127)
        ids = torch.arange(5, 15)[None]
        with torch.no_grad():
            close = torch.nn.functional.cosine_similarity(
                again(input_ids=ids).logits, model(input_ids=ids).logits, dim=-1
            )
        assert close.min() > 0.9


def test_observers_that_were_off_stay_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = wrapped(tiny_classifier()) | observer(f"{QUERY}.quant.activation_post_process", 1.0, 0, on=0)
    model = load_model(folder_of(tmp_path, state))
    query = model.get_submodule(QUERY)
    assert isinstance(query, QLinear)
    assert query.input_fq is not None
    assert not query.input_fq.enabled
    assert f"{QUERY}.input_fq" in caplog.text


@pytest.mark.parametrize(
    ("change", "gone", "told"),
    [
        ({}, f"{QUERY}.module.weight", rf"{QUERY}\.weight: not in the file"),
        ({f"{QUERY}.module.weight_mask": torch.ones(1)}, None, rf"{QUERY}\.module\.weight_mask: in the file, though"),
        ({f"{QUERY}.weight": torch.ones(32, 32)}, None, rf"are two values of one weight, {QUERY}\.weight"),
        ({f"{QUERY}.module._packed_params._packed_params": torch.ones(1)}, None, "packed for torch's int8 kernels"),
        (observer(f"{QUERY}.quant.activation_post_process", 0.1, -3), None, r"zero_point is -3, outside of 0 to 255"),
        (observer(f"{QUERY}.quant.activation_post_process", -1.0), None, r"scale is no single positive number"),
    ],
    ids=["missing", "unexpected", "twice", "packed", "zero point", "scale"],
)
def test_the_error_names_the_key_and_why(
    change: dict[str, Tensor], gone: str | None, told: str, tmp_path: Path
) -> None:
    state = wrapped(tiny_classifier()) | change
    if gone:
        del state[gone]
    with pytest.raises(InputError, match=told):
        load_model(folder_of(tmp_path, state))


def test_other_folders_are_left_to_transformers(tmp_path: Path) -> None:
    from sparsify.export.sparseml import read_sparseml

    assert read_sparseml(folder_of(tmp_path, tiny_classifier().state_dict(), None)) is None
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    assert read_sparseml(tmp_path) is None
