"""Entries: what SparseZoo's downloads left, archives, old weights, checkpoints, aliases."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparsify.errors import ZooError
from sparsify.zoo import Model, resolve
from sparsify.zoo.registry import model_in, recipe_in, resolve_model, resolve_recipe
from tests.helpers.zoos import ENTRY, STUB

RECIPE = "---\nmodifiers: []\n---\n# text\n"


def place(root: Path, files: dict[str, str], name: str = ENTRY) -> Path:
    folder = root / name
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "zoo"
    root.mkdir()
    monkeypatch.setenv("SPARSIFY_ZOO", str(root))
    return root


def test_the_seeds_snippet(zoo: Path, tmp_path: Path) -> None:
    place(zoo, {"recipe.yaml": "modifiers: []\n", "recipe_transfer.yaml": "a: 1\n"})
    transfer_stub = STUB
    download_dir = tmp_path / "transfer_recipe"
    zoo_model = Model(transfer_stub, download_path=download_dir)
    recipe_path = zoo_model.recipes.default.path
    assert recipe_path == str(download_dir / "recipe.yaml")
    assert Path(recipe_path).read_text() == "modifiers: []\n"
    assert [p.name for p in download_dir.iterdir()] == ["recipe.yaml"]  # only what was asked for
    named = Model(f"{STUB}?recipe=transfer")
    assert named.recipes.default.name == "recipe_transfer.yaml"
    assert named.recipes.available == ["recipe.yaml", "recipe_transfer.yaml"]
    assert (named.training, named.deployment, named.onnx_model, named.model_card) == (None, None, None, None)


def test_a_folder_that_sparsezoo_downloaded(tmp_path: Path) -> None:
    files = {
        "recipe_original.md": RECIPE,
        "recipe_transfer.md": RECIPE,
        "model.md": "card",
        "training/config.json": "{}",
    }
    folder = place(tmp_path, {**files, "deployment/model.onnx": "", "model.onnx": ""}, "download")
    model = Model(folder)
    assert model.recipes.default.path == str(folder / "recipe_original.md")
    assert model.training is not None
    assert model.training.default.path == str(folder / "training")
    assert model.deployment is not None
    assert model.deployment.path == str(folder / "deployment")
    assert model.onnx_model is not None
    assert model.onnx_model.path == str(folder / "model.onnx")
    assert model.path.rstrip("/") == str(folder)
    assert recipe_in(folder) == folder / "recipe_original.md"
    assert model_in(folder) == folder / "training"
    with pytest.raises(ZooError, match="neither a stub"):
        Model(tmp_path / "nothing")


def test_the_old_cache_by_short_name_and_by_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEZOO_MODELS_PATH", str(tmp_path))
    short = "obert-base-sst2_wikipedia_bookcorpus-pruned90_quantized"
    place(tmp_path, {"recipe.md": RECIPE}, f"neuralmagic/{short}")
    card = {"domain": "nlp", "sub_domain": "token_classification", "architecture": "obert", "sub_architecture": "base",
            "framework": "pytorch", "repo": "huggingface", "dataset": "conll2003", "sparse_tag": "pruned90-none"}  # fmt: skip
    text = "---\n" + "".join(f"{key}: {value}\n" for key, value in card.items()) + "---\n# Card\n"
    place(tmp_path, {"model.md": text, "recipe_original.md": RECIPE}, "6bfb3a0c-0c0b-4b1c")
    assert resolve_recipe(f"zoo:{short}").parent.name == short
    long = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90-none"
    assert resolve_recipe(long) == tmp_path / "6bfb3a0c-0c0b-4b1c" / "recipe_original.md"
    with pytest.raises(ZooError, match=f"nearest: .*{long}"):
        resolve_recipe(long.replace("pruned90", "prnued90"))


def test_archives_are_unpacked_into_the_cache(zoo: Path, tmp_path: Path, cache: Path) -> None:
    source = place(tmp_path, {"training/config.json": "{}", "training/model.safetensors": ""}, "source")
    folder = place(zoo, {"recipe.md": RECIPE})
    with tarfile.open(folder / "training.tar.gz", "w:gz") as tar:
        tar.add(source / "training", "training")
    found = resolve_model(STUB)
    assert found.is_relative_to(cache)
    assert (found / "config.json").read_text() == "{}"
    assert resolve_model(STUB) == found
    assert sorted(p.name for p in folder.iterdir()) == ["recipe.md", "training.tar.gz"]
    with pytest.raises(ZooError, match="for the checkpoint postqat"):
        resolve(f"{STUB}?checkpoint=postqat").training()


def test_old_weights_are_converted_once(zoo: Path, cache: Path) -> None:
    folder = place(zoo, {"training/config.json": "{}", "training/vocab.txt": "a"}) / "training"
    tied = torch.arange(6.0).reshape(2, 3)
    torch.save({"embedding": tied, "decoder": tied, "part": tied[:, 1:]}, folder / "pytorch_model.bin")
    found = resolve_model(STUB)
    assert found.is_relative_to(cache)
    assert resolve_model(STUB) == found
    tensors = load_file(found / "model.safetensors")
    assert torch.equal(tensors["decoder"], tied)
    assert torch.equal(tensors["part"], tied[:, 1:])
    assert sorted(p.name for p in found.iterdir()) == [
        "config.json",
        "converted.json",
        "model.safetensors",
        "vocab.txt",
    ]
    torch.save({"embedding": tied + 1}, folder / "pytorch_model.bin")
    assert torch.equal(load_file(resolve_model(STUB) / "model.safetensors")["embedding"], tied + 1)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "pytorch_model.bin", "vocab.txt"]


def test_checkpoints(zoo: Path) -> None:
    folder = place(
        zoo, {"training/config.json": "{}", "training/model.safetensors": "", "training/postqat/config.json": "{}"}
    )
    assert resolve_model(f"{STUB}?checkpoint=postqat") == folder / "training" / "postqat"
    assert resolve_model(f"{STUB}?checkpoint=preqat") == folder / "training"
    with pytest.raises(ZooError, match="no model found"):
        resolve_model(f"{STUB}?checkpoint=prepruning")


def test_an_alias_of_the_users(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = STUB.replace("pruned80", "pruned90")
    place(zoo, {"recipe.yaml": "modifiers: []\n"})
    place(tmp_path, {"config.json": "{}", "model.safetensors": ""}, "elsewhere")
    config = tmp_path / "zoo.yaml"
    aliases = {other: STUB, STUB.replace("tiny-x", "tiny-y"): str(tmp_path / "elsewhere")}
    config.write_text("aliases:\n" + "".join(f"  {name}: {to}\n" for name, to in aliases.items()))
    monkeypatch.setenv("SPARSIFY_CONFIG", str(config))
    assert resolve_recipe(other) == zoo / ENTRY / "recipe.yaml"
    assert resolve(other).alias == STUB
    assert resolve_model(STUB.replace("tiny-x", "tiny-y")) == tmp_path / "elsewhere"


def test_an_alias_to_the_hub_is_named_where_the_hub_is_not_reached(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = "zoo:nlp/masked_language_modeling/obert-base/pytorch/huggingface/wikipedia_bookcorpus/pruned90-none"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ZooError) as caught:
        resolve_model(stub)
    said = str(caught.value)
    assert f"no model found for {stub}" in said
    assert "its alias hf://neuralmagic/oBERT-12-upstream-pruned-unstructured-90 (did not answer)" in said
    assert str(zoo) in said


def test_a_manifest_of_another_entry_is_refused(zoo: Path) -> None:
    manifest = {"schema_version": 1, "stub": STUB.replace("demo", "other"), "files": {}}
    place(zoo, {"manifest.json": json.dumps(manifest)})
    with pytest.raises(ZooError, match="it is the manifest of"):
        resolve(STUB)


def test_a_newer_manifest_is_refused(zoo: Path) -> None:
    place(zoo, {"manifest.json": json.dumps({"schema_version": 2, "stub": STUB, "files": {}})})
    with pytest.raises(ZooError, match="schema_version is 2, this version of sparsify reads 1"):
        resolve(STUB)
