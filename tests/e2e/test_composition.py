"""A model made by one recipe goes on under another: zeros stay, both recipes are saved, the result loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsify import load_model, load_recipe
from sparsify.cli.train import main
from sparsify.quantization.layers import quantizers
from tests.helpers import ner

TRAIN = "training_modifiers:\n  - !EpochRangeModifier {{start_epoch: 0.0, end_epoch: {}}}\n"
PRUNE = TRAIN.format("2.0") + (
    "pruning_modifiers:\n  - !WeightPruningModifier\n    params: []\n    score_type: magnitude\n    final_sparsity: 0.75\n"
    "    start_epoch: 0.0\n    end_epoch: 1.0\n    update_frequency: 0.5\n    max_layer_sparsity: 0.9\n"
)
QUANTIZE = "quantization_modifiers:\n  - !QuantizationModifier {start_epoch: 0.0}\n"
LET_GO = (
    "pruning_modifiers:\n  - !ConstantPruningModifier {params: __ALL_PRUNABLE__, start_epoch: 0.0, end_epoch: 0.0}\n"
)
LAYERS = TRAIN.format("1.0") + "structure_modifiers:\n  - !LayerPruningModifier {layers: [bert.encoder.layer.1]}\n"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    ner.data_files(tmp_path / "data")
    ner.model_folder(tmp_path / "dense", ner.LABELS)
    return tmp_path


def train(world: Path, start: str, recipe: str | None, out: str, *flags: str) -> Path:
    argv = ["token_classification", "--model_name_or_path", str(world / start), "--output_dir", str(world / out)]
    argv += [t for n in ("train", "validation") for t in (f"--{n}_file", str(world / "data" / f"{n}.jsonl"))]
    argv += ["--do_train", "--use_cpu", "--per_device_train_batch_size", "8", "--learning_rate", "1e-3", *flags]
    if recipe is not None:
        (world / f"{out}.yaml").write_text(recipe)
        argv += ["--recipe", str(world / f"{out}.yaml")]
    assert main(argv) == 0
    return world / out


def zeros(folder: Path) -> dict[str, Any]:
    weights = load_file(folder / "model.safetensors")
    return {name: w == 0 for name, w in weights.items() if ".encoder." in name and w.dim() == 2}


def logits(folder: Path) -> torch.Tensor:
    found: torch.Tensor = load_model(folder)(input_ids=torch.arange(5, 15)[None]).logits
    return found


def test_prune_then_quantize(world: Path) -> None:
    pruned = train(world, "dense", PRUNE, "pruned")
    small = train(world, "pruned", TRAIN.format("1.0") + QUANTIZE, "small", "--save_strategy", "epoch")
    before, after = zeros(pruned), zeros(small)
    assert sum(int(z.sum()) for z in before.values()) == round(0.75 * sum(z.numel() for z in before.values()))
    assert all((after[name] >= z).all() for name, z in before.items())
    manager = load_recipe(small)
    assert [stage.name for stage in manager.recipe.stages] == ["run_1", "run_2"]
    assert [type(m).__name__ for m in manager.modifiers] == [
        "EpochRangeModifier", "WeightPruningModifier", "EpochRangeModifier", "QuantizationModifier",
        "ConstantPruningModifier",
    ]  # fmt: skip
    (checkpoint,) = small.glob("checkpoint-*")
    assert (checkpoint / "recipe.yaml").read_text() == (small / "recipe.yaml").read_text() == manager.recipe.text
    assert quantizers(load_model(small))
    assert torch.equal(logits(small), logits(checkpoint))


def test_quantize_then_train_on(world: Path) -> None:
    compressed = ("--save_compressed", "--verify_loading", "--do_eval")
    first = train(world, "dense", PRUNE + QUANTIZE, "compressed", *compressed)
    assert not (first / "model.safetensors").exists()
    train(world, "compressed", TRAIN.format("1.0"), "small")
    train(world, "dense", PRUNE + QUANTIZE, "small")
    on = train(world, "small", TRAIN.format("1.0"), "on")
    again = train(world, "on", None, "again", "--num_train_epochs", "1")
    for folder, runs in ((on, 2), (again, 3)):
        assert len(load_recipe(folder).recipe.stages) == runs
        model = load_model(folder)
        assert all(fq.enabled for fq in quantizers(model).values())
        assert all((zeros(folder)[name] >= z).all() for name, z in zeros(world / "small").items())
    assert not torch.equal(logits(on), logits(world / "small"))


def test_a_recipe_that_lets_zeros_go(world: Path) -> None:
    train(world, "dense", PRUNE, "pruned")
    free = train(world, "pruned", TRAIN.format("1.0") + LET_GO, "free")
    share = [float(z.float().mean()) for z in zeros(free).values()]
    assert max(share) < 0.1


def test_layers_that_were_taken_out_stay_out(world: Path) -> None:
    train(world, "dense", LAYERS, "short")
    on = train(world, "short", PRUNE, "on")
    assert len([m for m in load_model(on).bert.encoder.layer if m.__class__.__name__ == "Skipped"]) == 1
    assert not any("layer.1." in name for name in load_file(on / "model.safetensors"))


def test_a_new_head_takes_zeros_and_layers_but_no_quantizers(world: Path) -> None:
    ner.model_folder(world / "upstream")
    model = load_model(world / "upstream")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".encoder." in name and weight.dim() == 2:
                weight.view(-1)[::2] = 0.0
    model.save_pretrained(world / "upstream")
    (world / "upstream" / "recipe.yaml").write_text(PRUNE + QUANTIZE + LAYERS[LAYERS.index("structure") :])
    ours = train(world, "upstream", TRAIN.format("1.0"), "ours")
    kept = zeros(ours)
    assert kept
    assert not any("layer.1." in name for name in kept)
    assert all(z.view(-1)[::2].all() for z in kept.values())
    types = [type(m).__name__ for m in load_recipe(ours).modifiers]
    assert "LayerPruningModifier" in types
    assert "QuantizationModifier" not in types
    assert not quantizers(load_model(ours))
    assert torch.isfinite(logits(ours)).all()


def test_a_recipe_of_the_model_that_cannot_be_read_is_left_out(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ner.model_folder(world / "upstream")
    (world / "upstream" / "recipe.yaml").write_text("modifiers:\n  - !NoSuchModifier {}\n")
    ours = train(world, "upstream", TRAIN.format("1.0"), "ours")
    assert "is left out of what is saved" in capsys.readouterr().err
    assert (ours / "recipe.yaml").read_text() == TRAIN.format("1.0")


def test_the_second_training_resumes(world: Path) -> None:
    train(world, "dense", PRUNE, "pruned")
    recipe = TRAIN.format("2.0") + QUANTIZE
    whole = train(world, "pruned", recipe, "whole", "--save_strategy", "epoch")
    first, last = sorted(whole.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    (world / "cut").mkdir()
    shutil.copytree(first, world / "cut" / first.name)
    cut = train(world, "pruned", recipe, "cut", "--resume_from_checkpoint", "true", "--save_strategy", "epoch")
    for one, other in ((whole, cut), (last, cut / last.name)):
        a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert (whole / "recipe.yaml").read_text() == (cut / "recipe.yaml").read_text()
