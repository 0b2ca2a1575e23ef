"""Against the real package: sparsezoo 1.8.1 opens what is published here, and what it downloads is read here.

It pins onnx below 1.15 and numpy below 2, so it needs an environment of its own. By hand:

    python -m venv /tmp/old && /tmp/old/bin/pip install sparsezoo==1.8.1
    SPARSEZOO_PYTHON=/tmp/old/bin/python python -m pytest tests/compat

In CI (CI=true) the environment is made here; where the package does not install, the test is skipped.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sparsify.export.checkpoint import load_model
from sparsify.manager import load_recipe
from sparsify.tasks import models
from sparsify.zoo import Model, publish, resolve
from tests.compat.sparsezoo_service import service
from tests.helpers import ner

STUB = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"
RECIPE = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 2}\n"
FIELDS = {"domain": "nlp", "sub_domain": "token_classification", "architecture": "obert", "sub_architecture": "base",
          "framework": "pytorch", "repo": "huggingface", "dataset": "conll2003", "sparse_tag": "pruned90_quant-none"}  # fmt: skip
CARD = "---\n" + "".join(f"{name}: {value}\n" for name, value in FIELDS.items()) + "---\n# Card\n"
VARIABLE = "SPARSEZOO_PYTHON"


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    if named := os.environ.get(VARIABLE):
        return named
    if os.environ.get("CI", "").lower() != "true":
        pytest.skip(f"sparsezoo 1.8.1 needs an environment of its own: name its python in {VARIABLE}")
    folder = tmp_path_factory.mktemp("old")
    python = folder / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=120)
        command = [python, "-m", "pip", "install", "--quiet", "sparsezoo==1.8.1"]
        subprocess.run(command, check=True, capture_output=True, timeout=480)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"sparsezoo 1.8.1 does not install here: {error}")
    return str(python)


@pytest.mark.slow
def test_both_ways(old_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ner.model_folder(tmp_path / "run", ner.LABELS)
    (run / "recipe.yaml").write_text(RECIPE)
    (run / "model.md").write_text(CARD)
    (run / "deployment").mkdir()
    (run / "deployment" / "model.onnx").write_bytes(b"onnx")
    publish(run, STUB, tmp_path / "zoo")
    entry = tmp_path / "zoo" / STUB.removeprefix("zoo:")

    files = {
        f"{path.name}": ("training", path.read_bytes())
        for path in run.iterdir()
        if path.suffix in (".json", ".safetensors")
    }
    files |= {
        "recipe_original.md": ("recipe", f"---\n{RECIPE}---\n# Recipe\n".encode()),
        "recipe_transfer.md": ("recipe", f"---\n{RECIPE}---\n# Recipe\n".encode()),
        "model.md": ("card", CARD.encode()),
        "model.onnx": ("onnx", b"onnx"),
        "deployment.tar.gz": ("deployment", _archive("deployment", {"model.onnx": b"onnx"})),
    }
    cache = tmp_path / "cache"
    with service(files) as address:
        said = _in_sparsezoo(old_python, address, entry, tmp_path / "download", cache)

    assert said["recipe"] == str(entry / "recipe.yaml")
    assert said["recipes"] == ["recipe.yaml"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "recipe.yaml"} <= set(said["training"])
    assert said["training_path"] == str(entry / "training")
    assert said["deployment"] == ["model.onnx"]
    assert said["deployment_path"] == str(entry / "deployment")
    assert said["model_card"] == str(entry / "model.md")

    # what the service sent loose lies flat in the folder, archives unpacked beside themselves
    flat = {"config.json", "model.safetensors", "recipe_original.md", "deployment/model.onnx", "deployment.tar.gz"}
    assert flat <= set(said["flat"])
    assert {f"id/{name}" for name in (*flat, "recipe_transfer.md", "model.md")} <= set(said["cached"])

    download = tmp_path / "download"
    model = Model(download)
    assert model.recipes.default.path == str(download / "recipe_original.md")
    assert model.deployment is not None
    assert Path(model.deployment.path, "model.onnx").read_bytes() == b"onnx"
    assert load_recipe(download).max_epochs == 2
    assert models.resolve(str(download), "--model_name_or_path") == str(download)
    assert load_model(download).config.id2label[0] == ner.LABELS[0]

    monkeypatch.setenv("SPARSEZOO_MODELS_PATH", str(cache))
    assert resolve(STUB).recipe() == cache / "id" / "recipe_original.md"
    assert resolve(f"{STUB}?recipe=transfer").recipe() == cache / "id" / "recipe_transfer.md"
    assert load_model(resolve(STUB).training()).config.id2label[0] == ner.LABELS[0]


def _archive(folder: str, files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _in_sparsezoo(python: str, address: str, entry: Path, target: Path, cache: Path) -> dict[str, Any]:
    quiet = {"NM_DISABLE_ANALYTICS": "1", "NM_VERSION_CHECK": "false", "SPARSEZOO_API_URL": address}
    quiet["SPARSEZOO_MODELS_PATH"] = str(cache)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = Path(__file__).with_name("in_sparsezoo.py")
    done = subprocess.run(
        [python, script, entry, STUB, target], env={**environment, **quiet}, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
