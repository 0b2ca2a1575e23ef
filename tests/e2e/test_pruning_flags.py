"""Commands of the pruning examples, shortened, on a tiny model: the sparsity is exact, the recipe lies beside the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sparsify import load_model
from sparsify.cli.train import main
from sparsify.recipe.recipe import Recipe
from tests.helpers import texts
from tests.helpers.units import whole_blocks
from tests.unit.tasks.seed_commands import COMMANDS, FILES, argv

_OURS = {"--model_name_or_path", "--task_name", "--output_dir", "--num_train_epochs", "--cooldown_epochs"}
_NAMES = ("mrpc_2in4", "mrpc_4x1", "sst2_channel", "mrpc_mixed")


def command(name: str, folder: Path) -> list[str]:
    """The command with local data and model, for two epochs of which one cools down."""
    kept, tokens = [], argv(COMMANDS[name].replace("--do_prune", "--do_prune true"))
    for flag, value in zip(tokens[::2], tokens[1::2], strict=True):
        kept += [] if flag in _OURS else [flag, "1" if flag == "--pruning_frequency" else value]
    files = [f"{folder / 'data' / name}.jsonl" for name in ("train", "validation")]
    mine = {"model_name_or_path": folder / "dense", "train_file": files[0], "validation_file": files[1]}
    mine |= {"num_train_epochs": 3, "cooldown_epochs": 1, "output_dir": folder / "out"}
    return ["text_classification", *kept, *(t for k, v in mine.items() for t in (f"--{k}", str(v))), "--do_train"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    texts.data_files(tmp_path / "data")
    texts.model_folder(tmp_path / "dense", texts.LABELS)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pruned(folder: Path) -> dict[str, Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {n: w == 0 for n, w in weights.items() if ".encoder." in n and w.dim() == 2}


@pytest.mark.parametrize("name", _NAMES)
def test_a_seed_command_reaches_its_sparsity(name: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(name, world), "--use_cpu"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    recipe = (world / "out" / "recipe.yaml").read_text()
    assert recipe in said
    assert Recipe.from_text(recipe).modifiers
    zeros = pruned(world / "out")
    share = {n: float(z.float().mean()) for n, z in zeros.items()}
    total = sum(int(z.sum()) for z in zeros.values()) / sum(z.numel() for z in zeros.values())
    if name == "mrpc_mixed":
        assert {n: s for n, s in share.items() if n.endswith("dense.weight") and abs(s - 0.9) > 2e-3} == {}
        rest = {n: z for n, z in zeros.items() if not n.endswith("dense.weight")}
        assert all(whole_blocks(z) for z in rest.values())
        block = 4 / 256  # of a matrix of 16 x 16
        assert {n: share[n] for n in rest if not 0.5 - block <= share[n] <= 0.98 + block} == {}
    elif name == "mrpc_2in4":
        assert all((z.view(-1, 4).sum(1) == 2).all() for z in zeros.values())
    elif name == "mrpc_4x1":
        assert all(whole_blocks(z) for z in zeros.values())
        assert total == pytest.approx(0.9, abs=2e-3)
    else:
        assert all(torch.equal(z.all(1), z.any(1)) for z in zeros.values())
        assert total == pytest.approx(0.9, abs=2e-2)


def test_the_head_stays_what_it_was_and_the_embeddings_are_not_pruned(world: Path) -> None:
    assert main([*command("mrpc_4x1", world), "--use_cpu"]) == 0
    before, after = (load_file(world / f / "model.safetensors") for f in ("dense", "out"))
    assert torch.equal(before["classifier.weight"], after["classifier.weight"])
    embeddings = next(n for n in after if n.endswith("word_embeddings.weight"))
    assert int((after[embeddings] == 0).sum()) == int((before[embeddings] == 0).sum())


def test_heads_and_neurons_are_gone_for_real(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = [f"{world / 'data' / name}.jsonl" for name in ("train", "validation")]
    flags = ["--model_name_or_path", "dense", "--train_file", data[0], "--validation_file", data[1], "--do_train"]
    slim = ["--prune_mha_sparsity", "0.5", "--prune_ffn2_sparsity", "0.5", "--auto_slim", "--num_train_epochs", "2"]
    command_line = ["text_classification", *flags, *slim, "--do_eval", "--output_dir", "out", "--use_cpu"]
    assert main(command_line) == 0, capsys.readouterr().err
    weights = load_file(world / "out" / "model.safetensors")
    assert weights["bert.encoder.layer.0.intermediate.dense.weight"].shape == (16, 16)
    assert weights["bert.encoder.layer.0.attention.self.query.weight"].shape == (8, 16)
    assert load_model(world / "out").num_labels == 2
