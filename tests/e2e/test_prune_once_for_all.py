"""Prune Once For All: an encoder pruned once learns a task and becomes int8, and no zero of it is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sparsify import export_onnx, load_model, load_recipe
from sparsify.cli.train import main
from sparsify.export.graph import layer_tensors, load_graph
from sparsify.quantization.layers import QLayer
from tests.helpers import ner, qa
from tests.unit.tasks.seed_commands import PATTERN_LOCK

RECIPE = "zoo:nlp/question_answering/encoder/pytorch/huggingface/squad/pruneofa90_quant-none"
PRUNE = (
    "pruning_modifiers:\n  - !WeightPruningModifier\n    params: []\n    score_type: magnitude\n    final_sparsity: 0.9\n"
    "    start_epoch: 0.0\n    end_epoch: 1.0\n"
)
SEED = (
    "--apply_distillation --generate_teacher_logits --apply_pruning --pruning_config prune_pattern_lock.yml --do_train "
    "--do_eval --max_seq_length 24 --per_device_train_batch_size 12 --per_device_eval_batch_size 12 --pad_to_max_length"
)
STAGE1 = "--learning_rate 1.8e-4 --num_train_epochs 3 --warmup_ratio 0.05 --weight_decay 0.01"
STAGE2 = "--apply_quantization --verify_loading --learning_rate 1e-5 --num_train_epochs 2 --warmup_ratio 0.1 --weight_decay 0"


def distilbert(head: str, seed: int) -> torch.nn.Module:
    import transformers as hf

    torch.manual_seed(seed)
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 32}
    config = hf.DistilBertConfig(vocab_size=len(ner.tokenizer()), dropout=0.0, attention_dropout=0.0, **sizes)
    made: torch.nn.Module = getattr(hf, f"DistilBertFor{head}")(config)
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse upstream model, a dense teacher, data, and Neural Compressor's configuration."""
    folder = tmp_path_factory.mktemp("ofa")
    qa.data_files(folder / "data", train=48)
    sparse = load_recipe(PRUNE).apply(distilbert("MaskedLM", 0))
    for name, model in (("sparse", sparse), ("teacher", distilbert("QuestionAnswering", 1))):
        model.save_pretrained(folder / name)  # type: ignore[operator]
        ner.tokenizer().save_pretrained(folder / name)
    (folder / "prune_pattern_lock.yml").write_text(PATTERN_LOCK)
    return folder


def train(world: Path, model: str, out: str, *flags: str) -> Path:
    argv = ["question_answering", "--model_name_or_path", str(world / model), "--output_dir", str(world / out)]
    argv += [
        t for n, end in (("train", "json"), ("validation", "jsonl")) for t in (f"--{n}_file", f"{world}/data/{n}.{end}")
    ]
    assert main([*argv, "--use_cpu", "--report_to", "none", *flags]) == 0
    return world / out


def zeros(folder: Path) -> dict[str, Tensor]:
    return {n: w == 0 for n, w in load_file(folder / "model.safetensors").items() if ".layer." in n and w.dim() == 2}


def check(folder: Path, locked: Mapping[str, Tensor]) -> None:
    """Every zero is there, in the folder, in the model, and in the integers of the ONNX file."""
    assert all((zeros(folder)[name] >= mask).all() for name, mask in locked.items())
    model = load_model(folder)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, QLayer)}
    assert all((model.get_parameter(name)[mask] == 0).all() for name, mask in locked.items())
    exported = export_onnx(folder, folder / "deployment")
    assert exported.passed
    assert exported.precision == "int8"
    stored = layer_tensors(load_graph(folder / "deployment" / "model.onnx"), layers)
    for name, mask in locked.items():
        found = [t.T for t in stored[name.removesuffix(".weight")] if t.dtype == np.int8 and t.T.shape == mask.shape]
        assert len(found) == 1
        assert not found[0][mask.numpy()].any(), name
        assert found[0].any()


@pytest.fixture(scope="module")
def locked(world: Path) -> dict[str, Tensor]:
    found = zeros(world / "sparse")
    assert len(found) == 12
    assert sum(int(z.sum()) for z in found.values()) == round(0.9 * sum(z.numel() for z in found.values()))
    return found


def test_the_two_commands_of_the_examples(
    world: Path, locked: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    teacher = ("--teacher_model_name_or_path", str(world / "teacher"))
    first = train(world, "sparse", "stage1", *SEED.split(), *STAGE1.split(), *teacher)
    after = zeros(first)
    assert all((after[name] >= mask).all() for name, mask in locked.items())
    second = train(world, "stage1", "stage2", *SEED.split(), *STAGE2.split(), *teacher)
    check(second, after)
    assert not torch.equal(
        load_file(first / "model.safetensors")["qa_outputs.weight"],
        load_file(world / "teacher" / "model.safetensors")["qa_outputs.weight"],
    )
    recipe = load_recipe(second).recipe
    assert [stage.name for stage in recipe.stages] == ["run_1", "run_2"]
    assert sorted(spec.type for spec in recipe.stages[1].modifiers) == [
        "ConstantPruningModifier", "DistillationModifier", "EpochRangeModifier", "QuantizationModifier",
    ]  # fmt: skip


def test_both_stages_as_the_packaged_recipe(world: Path, locked: dict[str, Tensor]) -> None:
    argv = ["--recipe", f"{RECIPE}?recipe=distilbert", "--distill_teacher", str(world / "teacher"), "--do_train"]
    argv += ["--per_device_train_batch_size", "16", "--pad_to_max_length", "--max_seq_length", "24"]
    folder = train(world, "sparse", "both", *argv)
    check(folder, locked)
    stages = [stage.name for stage in load_recipe(folder).recipe.stages]
    assert stages == ["transfer_stage", "quantization_stage"]
