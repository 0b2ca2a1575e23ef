"""Pickled weights made safetensors: anew when they change, and only tensors that both formats know."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsify.errors import ZooError
from sparsify.zoo.convert import converted, read_pickled


def shards(folder: Path, count: int, **changed: float) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        name = f"pytorch_model-{i + 1:05}-of-{count:05}.bin"
        torch.save({f"w{i}": torch.full((2,), changed.get(f"w{i}", float(i)))}, folder / name)
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_shard_counts(tmp_path: Path) -> None:
    model = tmp_path / "model"
    first = converted(model, shards(model, 6), tmp_path / "cache")
    assert sorted(load_file(first / "model.safetensors")) == [f"w{i}" for i in range(6)]
    assert not (first / "pytorch_model.bin.index.json").exists()
    second = converted(model, shards(model, 6, w5=7.0), tmp_path / "cache")
    assert load_file(second / "model.safetensors")["w5"].tolist() == [7.0, 7.0]
    assert converted(model, shards(model, 6), tmp_path / "cache") == first


def test_a_renamed_file_is_another_folder(tmp_path: Path) -> None:
    files = shards(tmp_path / "model", 1)
    (tmp_path / "model" / "vocab.txt").write_text("a")
    files.append(tmp_path / "model" / "vocab.txt")
    converted(tmp_path / "model", files, tmp_path / "cache")
    (tmp_path / "model" / "vocab.txt").rename(tmp_path / "model" / "spm.model")
    files[-1] = tmp_path / "model" / "spm.model"
    assert (converted(tmp_path / "model", files, tmp_path / "cache") / "spm.model").is_file()


@pytest.mark.parametrize("other", ["checkpoint/model.safetensors", "sparsify_state.safetensors"])
def test_safetensors_that_are_not_the_models_weights_leave_nothing_pickled(other: str, tmp_path: Path) -> None:
    files = shards(tmp_path / "model", 1)
    (tmp_path / "model" / other).parent.mkdir(exist_ok=True)
    save_file({"x": torch.ones(1)}, tmp_path / "model" / other)
    found = converted(tmp_path / "model", [*files, tmp_path / "model" / other], tmp_path / "cache")
    assert (found / "model.safetensors").is_file()
    assert not list(found.glob("*.bin"))


@pytest.mark.parametrize("name", ["model.safetensors", "model-00001-of-00002.safetensors"])
def test_a_model_that_has_both_is_used_where_it_lies(name: str, tmp_path: Path) -> None:
    files = shards(tmp_path / "model", 1)
    save_file({"x": torch.ones(1)}, tmp_path / "model" / name)
    assert converted(tmp_path / "model", [*files, tmp_path / "model" / name], tmp_path / "cache") == tmp_path / "model"


def _odd(kind: str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "sparse": lambda: torch.eye(2).to_sparse(),
            "csr": lambda: torch.eye(2).to_sparse_csr(),
            "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "meta": lambda: torch.ones(2, device="meta"),
            "complex": lambda: torch.ones(2, dtype=torch.complex128),
        }[kind]()


@pytest.mark.parametrize("kind", ["sparse", "csr", "quantized", "meta", "complex"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_safetensors_does_not_know_are_named(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"plain": torch.ones(2), "odd.weight": _odd(kind)}, file)
    with pytest.raises(ZooError, match=r"pytorch_model\.bin: 'odd\.weight' is a .* tensor"):
        converted(tmp_path, [file], tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.bfloat16, torch.float16, torch.int64, torch.float64])
def test_number_formats_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.tensor([[0, 1], [1, 0]]).to(dtype).t()}, file)
    found = load_file(converted(tmp_path, [file], tmp_path / "cache") / "model.safetensors")["w"]
    assert found.dtype == dtype
    assert found.tolist() == torch.tensor([[0, 1], [1, 0]]).to(dtype).t().tolist()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({}, "holds no state dict but dict"),
        ([torch.ones(1)], "holds no state dict but list"),
        ({"a": 3}, "'a' is no tensor"),
        ({3: torch.ones(1)}, "'3' is no tensor"),
        ({"state_dict": {"a": {"b": torch.ones(1)}}}, "'a' is no tensor"),
    ],
)
def test_what_is_no_state_dict(held: object, words: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "x.bin")
    with pytest.raises(ZooError, match=words):
        read_pickled(tmp_path / "x.bin")


def test_a_training_checkpoint_around_the_weights_is_taken_off(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "x.bin")
    assert list(read_pickled(tmp_path / "x.bin")) == ["a"]
