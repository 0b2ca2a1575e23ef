"""Every pruning command of the GLUE examples, at its full number of epochs, on real pairs and a tiny model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sparsify.cli.train import main
from tests.helpers import ner
from tests.helpers.models import tiny_classifier
from tests.helpers.units import whole_blocks
from tests.unit.tasks.seed_commands import FILES

DOCUMENT = "seeds/004_d0d8d2b9b9d0958c.txt"
HEAD = ("classifier", "pooler")


def commands(shared: Path) -> list[list[str]]:
    """What follows the script's name, command by command; the script with a configuration of its own gets it as a flag."""
    text = (shared / DOCUMENT).read_text("utf-8")
    found = re.findall(r"^ *python3? (?:\./)?run_glue_no_trainer(_mixed)?\.py((?:.*\\\n)*.*)", text, re.MULTILINE)
    assert len(found) == 10
    mixed = ["--pruning_config", "mixed.txt"]
    return [shlex.split(rest.replace("\\\n", " ").replace("```", "")) + mixed * bool(own) for own, rest in found]


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def local(command: list[str], folder: Path, data: Path) -> list[str]:
    """The command with files in place of the benchmark's name, few of the examples, and a model that lies here."""
    task = command.index("--task_name")
    command = command[:task] + command[task + 2 :]
    command[command.index("--model_name_or_path") + 1] = str(folder / "dense")
    command[command.index("--output_dir") + 1] = str(folder / "out")
    epochs = next(float(value(command, f)) for f in ("--num_train_epochs", "--num_train_epoch") if f in command)
    samples = {"--max_train_samples": 16 * (34 if "500" in command else 3 if epochs > 100 else 10)}
    files = {"--train_file": data / "train.jsonl.gz", "--validation_file": data / "validation.jsonl"}
    columns = {"--input_column_names": "question,sentence", "--max_eval_samples": 32, "--logging_steps": 1000}
    added = {**files, **columns, **samples}
    return ["text_classification", *command, "--use_cpu", *(str(t) for pair in added.items() for t in pair)]


def zeros_of(folder: Path) -> dict[str, Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {
        name: weight == 0
        for name, weight in weights.items()
        if weight.dim() == 2 and "embedding" not in name and not any(part in name for part in HEAD)
    }


@pytest.mark.parametrize("index", range(10))
def test_a_command_of_the_document_reaches_its_sparsity(
    index: int, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands(shared)[index]
    family = "distilbert" if "distilbert" in " ".join(command) else "bert"
    labels = {"id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}
    model = tiny_classifier(family, head="SequenceClassification", vocab_size=len(ner.tokenizer()), **labels)
    model.save_pretrained(tmp_path / "dense")
    ner.tokenizer().save_pretrained(tmp_path / "dense")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(local(command, tmp_path, shared / "data/qnli_mini")) == 0, capsys.readouterr().err
    zeros = zeros_of(tmp_path / "out")
    share = sum(int(z.sum()) for z in zeros.values()) / sum(z.numel() for z in zeros.values())
    if "--do_prune" not in command:
        assert share == 0
    elif "2:4" in command:
        assert all((z.view(-1, 4).sum(1) == 2).all() for z in zeros.values())
    elif "mixed.txt" in command:
        assert {
            n for n, z in zeros.items() if n.endswith("dense.weight") and abs(z.float().mean() - 0.9) > 2e-3
        } == set()
        assert all(whole_blocks(z) for n, z in zeros.items() if not n.endswith("dense.weight"))
    elif "1xchannel" in command:
        assert all(torch.equal(z.all(1), z.any(1)) for z in zeros.values())
        assert share == pytest.approx(0.9, abs=2e-2)
    else:
        assert all(whole_blocks(z) for z in zeros.values())
        assert share == pytest.approx(0.9, abs=2e-3)
    assert json.loads((tmp_path / "out/all_results.json").read_text())
