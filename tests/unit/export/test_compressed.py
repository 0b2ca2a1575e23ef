"""Compressed folders: small, equal bit for bit, and in the layout that compressed-tensors had."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsify import load_model, save_compressed
from sparsify.errors import InputError
from sparsify.export.compressed import COMPRESSED, compress, onto_grid
from sparsify.manager import load_recipe
from sparsify.quantization.layers import quantizers
from tests.helpers.models import VOCAB, tiny_classifier

PRUNE = "modifiers:\n  - !WeightPruningModifier {score_type: magnitude, final_sparsity: 0.9, start_epoch: 0, end_epoch: 1}\n"
QUANTIZE = PRUNE + "  - !QuantizationModifier {start_epoch: 0}\n"
ROUNDED = "modifiers:\n  - !QuantizationModifier {start_epoch: 0}\n"
LOW_BITS = "modifiers:\n  - !QuantizationModifier {start_epoch: 0, weight_bits: 4}\n"
GROUPED = (
    "modifiers:\n  - !QuantizationModifier\n    start_epoch: 0\n"
    "    scheme: {weights: {num_bits: 4, strategy: group, group_size: 16}}\n"
)
SIZES = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 1}


def made(folder: Path, recipe: str, **options: Any) -> tuple[Any, Any]:
    """A model that a recipe made, and what storing it came to."""
    model: Any = tiny_classifier(**options)
    manager = load_recipe(recipe)
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, VOCAB, (4, 12), generator=generator) for _ in range(4)]
    manager.apply(model, calibration_data=[{"input_ids": i} for i in ids])
    saved = save_compressed(model, folder)
    manager.record.save(folder / "recipe.yaml")
    return model, saved


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(5, 17)[None]).logits
    return found


@pytest.mark.parametrize(
    "recipe", [PRUNE, ROUNDED, QUANTIZE, LOW_BITS, GROUPED], ids=["pruned", "int8", "both", "int4", "groups"]
)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_what_is_read_computes_the_same(recipe: str, family: str, tmp_path: Path) -> None:
    model, _ = made(tmp_path, recipe, family=family)
    again = load_model(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert quantizers(again).keys() == quantizers(model).keys()
    for name, weight in model.named_parameters():
        zeros = weight == 0
        assert not again.get_parameter(name)[zeros].any(), name
        if not quantizers(model):
            assert torch.equal(again.get_parameter(name), weight), name
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("recipe", [QUANTIZE, GROUPED], ids=["int8", "groups"])
def test_a_model_on_its_grid_is_the_one_that_is_read(recipe: str, tmp_path: Path) -> None:
    model, _ = made(tmp_path, recipe)
    before = logits(model)
    onto_grid(model)
    assert torch.equal(logits(model), before)
    again = load_model(tmp_path)
    assert all(torch.equal(again.get_parameter(name), weight) for name, weight in model.named_parameters())


def test_the_encoder_of_a_sparse_int8_model_takes_an_eighth(tmp_path: Path) -> None:
    model, saved = made(tmp_path, QUANTIZE, seed=1, **SIZES)
    state = load_file(tmp_path / COMPRESSED)
    small = sum(t.numel() * t.element_size() for n, t in state.items() if ".encoder." in n)
    dense = sum(4 * p.numel() for n, p in model.named_parameters() if ".encoder." in n)
    assert small / dense <= 0.12
    assert saved.sparse < 0.12 * saved.dense_sparse
    assert saved.weights == (tmp_path / COMPRESSED).stat().st_size
    assert f"{saved.weights:,} bytes" in str(saved)


def test_each_weight_is_stored_in_the_smaller_way(tmp_path: Path) -> None:
    model, _ = made(tmp_path, QUANTIZE)
    state = load_file(tmp_path / COMPRESSED)
    query = "bert.encoder.layer.0.attention.self.query"
    assert f"{query}.weight" not in state
    assert state[f"{query}.compressed"].dtype == torch.int8
    assert state["classifier.weight"].dtype == torch.int8
    assert state[f"{query}.bias"].dtype == torch.float32
    assert state["bert.embeddings.LayerNorm.weight"].dtype == torch.float32
    zeros = int((model.get_parameter(f"{query}.weight") == 0).sum())
    assert state[f"{query}.compressed"].numel() <= model.get_parameter(f"{query}.weight").numel() - zeros


def test_transformers_alone_refuses_the_folder(tmp_path: Path) -> None:
    import transformers

    made(tmp_path, PRUNE)
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        transformers.BertForTokenClassification.from_pretrained(tmp_path, local_files_only=True)


def test_damaged_folders(tmp_path: Path) -> None:
    made(tmp_path, QUANTIZE)
    state = load_file(tmp_path / COMPRESSED)
    query = "bert.encoder.layer.0.attention.self.query"
    for left_out, told in (
        (f"{query}.shape", f"{query} cannot be unpacked: 'shape'|{query} cannot be unpacked"),
        ("classifier.weight_fq.scale", "classifier.weight is stored as integers, but their scale is missing"),
    ):
        save_file({n: t for n, t in state.items() if n != left_out}, tmp_path / COMPRESSED)
        with pytest.raises(InputError, match=told):
            load_model(tmp_path)
    (tmp_path / COMPRESSED).write_bytes(b"cut short")
    with pytest.raises(InputError, match="corrupt"):
        load_model(tmp_path)


def test_compressing_that_was_interrupted_leaves_a_folder_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = tiny_classifier()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    unlink, shards = Path.unlink, list(tmp_path.glob("model-*.safetensors"))
    removed: list[str] = []

    def stopping(self: Path, missing_ok: bool = False) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.extend([self.name] if self in shards else [])
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", stopping)
        with pytest.raises(KeyboardInterrupt):
            compress(tmp_path, model)
    assert len(shards) > 1
    assert torch.equal(logits(load_model(tmp_path)), logits(model.eval()))


def test_export_reads_it(tmp_path: Path) -> None:
    from sparsify import export_onnx

    made(tmp_path / "small", QUANTIZE)
    assert export_onnx(tmp_path / "small", tmp_path / "out").passed


def test_compressed_tensors_unpacks_the_same(tmp_path: Path) -> None:
    if importlib.util.find_spec("compressed_tensors") is None:
        pytest.skip("compressed-tensors is not installed")
    module = pytest.importorskip(
        "compressed_tensors.compressors.sparse_compressors.sparse_bitmask", reason="gone from it with 0.15"
    )
    model, _ = made(tmp_path, PRUNE)
    state = load_file(tmp_path / COMPRESSED)
    for name in [n.removesuffix(".bitmask") for n in state if n.endswith(".bitmask")]:
        tensor = module.BitmaskTensor(
            **{p: state[f"{name}.{p}"] for p in ("shape", "compressed", "bitmask", "row_offsets")}
        )
        assert torch.equal(tensor.decompress(), model.get_parameter(f"{name}.weight"))
        theirs = module.BitmaskTensor.from_dense(model.get_parameter(f"{name}.weight").detach()).dict(name)
        assert all(torch.equal(value, state[key]) for key, value in theirs.items())
