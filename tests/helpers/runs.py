"""Runs of the real commands: a world of files and flags for each task, and what the runs leave."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsify.cli.train import main

PRUNE = """
num_epochs: {epochs}
init_lr: {rate}
training_modifiers:
  - !EpochRangeModifier {{start_epoch: 0.0, end_epoch: eval(num_epochs)}}
  - !LearningRateFunctionModifier
      {{start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: eval(init_lr), final_lr: 0}}
pruning_modifiers:
  - !GMPruningModifier
      {{start_epoch: 0.0, end_epoch: 2.0, update_frequency: 0.2, init_sparsity: 0.0, final_sparsity: {sparsity},
       params: ["re:bert.encoder.*weight"]}}
"""
QUANTIZE = """
quantization_modifiers:
  - !QuantizationModifier {{start_epoch: 2.0, submodules: [bert.encoder, {head}]}}
"""
DISTIL = """
distillation_modifiers:
  - !DistillationModifier {hardness: 0.5, temperature: 2.0}
"""


def recipe(
    head: str | None = "classifier", *, epochs: int = 4, rate: float = 5e-3, sparsity: float = 0.5, distil: bool = True
) -> str:
    """Prune the encoder, quantize it and ``head`` (None: do not) from epoch 2 on, learn from a teacher."""
    parts = [PRUNE.format(epochs=epochs, rate=f"{rate:.1e}", sparsity=sparsity)]
    if head is not None:
        parts.append(QUANTIZE.format(head=head))
    return "".join([*parts, DISTIL * distil])


class World:
    """A task's data, a model that is to learn it, and the flags that all runs share."""

    def __init__(self, task: str, root: Path, base: Path, data: Mapping[str, Path], text: str, *options: str) -> None:
        self.task, self.root, self.base, self.data, self.options = task, root, base, data, options
        self.recipe = root / "recipe.yaml"
        self.recipe.write_text(text)
        self.dense = root / "dense"

    def learn(self, epochs: int, *more: str) -> World:
        """With ``dense`` trained from ``base``."""
        rate = ("--do_train", "--num_train_epochs", str(epochs), "--learning_rate", "5e-3")
        assert main(self.flags(self.dense, *rate, *more)) == 0
        return self

    def flags(self, output: Path, *more: str, model: Path | None = None) -> list[str]:
        """Of a run that writes to ``output``, from ``base`` unless a model is named."""
        argv = [self.task, "--model_name_or_path", str(model or self.base), "--output_dir", str(output)]
        for split, path in self.data.items():
            argv += [f"--{split}_file", str(path)]
        return [*argv, *self.options, "--per_device_train_batch_size", "8", "--report_to", "none", "--use_cpu", *more]

    def distilling(self) -> list[str]:
        """Flags that train by the recipe, with the dense model as the teacher."""
        return ["--do_train", "--recipe", str(self.recipe), "--distill_teacher", str(self.dense)]

    def compress(self, output: Path) -> str:
        """By the recipe, from the dense model, in a process of its own; what it prints."""
        more = ("--do_eval", "--do_predict", "--save_strategy", "epoch")
        argv = self.flags(output, *self.distilling(), *more, model=self.dense)
        command = [sys.executable, "-m", "sparsify.cli.train", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def results(folder: Path) -> dict[str, Any]:
    """All figures of a run."""
    found: dict[str, Any] = json.loads((folder / "all_results.json").read_text())
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def encoder_sparsity(folder: Path) -> float:
    """Share of zeros in the encoder's matrices, as saved."""
    weights = load_file(folder / "model.safetensors")
    pruned = [
        w for name, w in weights.items() if name.startswith("bert.encoder") and name.endswith(".weight") and w.ndim == 2
    ]
    return sum(int((w == 0).sum()) for w in pruned) / sum(w.numel() for w in pruned)


def different_weights(first: Path, second: Path) -> list[str]:
    """Names of tensors that two runs did not save alike, to the bit."""
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    return sorted(
        name for name in one.keys() | other.keys() if not torch.equal(one.get(name, NONE), other.get(name, NONE))
    )


NONE = torch.empty(0, 0)


def checkpoints(folder: Path) -> Iterator[Path]:
    """Those of a run, oldest first."""
    yield from sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command printed, from the first line that begins with a brace on."""
    out = capsys.readouterr().out
    begin = re.search(r"^\{", out, re.MULTILINE)
    assert begin, out
    return json.loads(out[begin.start() :])
