"""What is exported: the model, its task, its tokenizer and its recipe, from a folder or from memory."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from sparsify.analysis.report import weight_bits
from sparsify.errors import InputError, first_line
from sparsify.export.samples import Batch, Sample, encode, generate, knows, made_up_texts, read_samples
from sparsify.export.task import Task, input_names, max_length, resolve_task
from sparsify.quantization.layers import set_observing

logger = logging.getLogger(__name__)
MAX_SAMPLES = 1000
_MADE_UP = 64
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spm.model",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A model to export, in eval mode, fp32, on the CPU.

    Attributes:
        model: The model, its quantizers frozen.
        task: What it does.
        folder: Where it came from, None for a model in memory.
        tokenizer: Its tokenizer, or None.
        recipe: Text of the recipe that made it, or None.
        warnings: What the user should hear of, one line each.
    """

    model: nn.Module
    task: Task
    folder: Path | None
    tokenizer: Any
    recipe: str | None
    warnings: tuple[str, ...]

    @property
    def config(self) -> Any:
        """The model's transformers config."""
        return self.model.config

    @property
    def precision(self) -> str:
        """``int8`` where any layer's weight is quantized (``int4`` where any has 4 bits in the file), else ``fp32``."""
        bits = {weight_bits(module) for module in self.model.modules()}
        return "int4" if 4 in bits else "int8" if 8 in bits else "fp32"

    @property
    def inputs(self) -> list[str]:
        """Names of the graph's inputs."""
        return input_names(self.model, self.tokenizer)

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return max_length(self.config, self.tokenizer)

    @property
    def labels(self) -> list[str]:
        """Names of the classes, by id; none where the task has none."""
        names = (self.config.id2label or {}) if self.task.classes else {}
        return [str(names[i]) for i in sorted(names, key=int)]

    @property
    def recipe_sha256(self) -> str | None:
        """sha256 of the recipe's text."""
        return None if self.recipe is None else hashlib.sha256(self.recipe.encode()).hexdigest()

    def batches(
        self,
        samples: str | Path | Sequence[Sample] | None,
        shape: tuple[int, int] | None,
        limit: int = MAX_SAMPLES,
        inputs: Sequence[str] | None = None,
    ) -> tuple[list[Batch], str]:
        """Inputs to compare on, and where they came from (``samples`` or ``generated``).

        Args:
            samples: Texts, lists of words, or a data file; None makes them up: sentences, or token ids where the
                tokenizer does not know their words.
            shape: A fixed (batch, length).
            limit: How many samples at most.
            inputs: Names of the graph's inputs; the model's own by default.

        Raises:
            InputError: The samples cannot be read, or there is no tokenizer for them.
        """
        names = self.inputs if inputs is None else inputs
        bounds: dict[str, Any] = {"max_length": self.max_length, "shape": shape}
        if samples is None and self.tokenizer is not None and knows(self.tokenizer, made := made_up_texts(_MADE_UP)):
            pairs: list[Sample] = list(zip(made[::2], made[1::2], strict=True)) if self.task.pairs else [*made]
            return encode(pairs, self.tokenizer, names, **bounds), "generated"
        if samples is None:
            pad = self.config.pad_token_id or 0
            bounds |= {"tokenizer": self.tokenizer, "pad_id": pad}
            return generate(names, self.config.vocab_size, **bounds), "generated"
        if self.tokenizer is None:
            raise InputError("samples were given, but the model has no tokenizer to encode them: pass tokenizer=...")
        texts = read_samples(samples, limit=limit) if isinstance(samples, str | Path) else list(samples)[:limit]
        batches = encode(texts, self.tokenizer, names, **bounds)
        if not batches:
            raise InputError("the samples given are all empty.")
        return batches, "samples"

    def example(self, shape: tuple[int, int] | None = None) -> dict[str, NDArray[Any]]:
        """Inputs to trace the model with, of a fixed (batch, length) or of 2 sequences of 16.

        torch.export would take a batch or a length of 1 for a constant.
        """
        return self.batches(None, shape or (2, min(16, self.max_length)))[0][0].inputs


def open_source(
    model: str | Path | nn.Module,
    *,
    task: str | None = None,
    strict: bool = False,
    tokenizer: Any = None,
    recipe: str | None = None,
) -> Source:
    """Load what is to be exported.

    Args:
        model: A model folder, or a transformers model; the latter is copied, never changed.
        task: What the user takes it for; the checkpoint's own architecture wins.
        strict: Make a contradicting ``task`` an error.
        tokenizer: Replaces the folder's.
        recipe: Replaces the text of the folder's ``recipe.yaml``.

    Raises:
        InputError: The folder is missing, incomplete or corrupt, or its task cannot be exported.
    """
    if isinstance(model, nn.Module):
        name = type(model).__name__
        if not hasattr(model, "config"):
            raise InputError(
                f"{name} has no transformers config, so its task is unknown: pass a transformers model, or batches of its inputs: inputs=..."
            )
        found, warning = resolve_task([name], task, strict=strict)
        return Source(frozen_copy(model), found, None, tokenizer, recipe, _said(warning))
    from sparsify.export.checkpoint import RECIPE_FILE, load_model

    folder = Path(model)
    found, warning = resolve_task(read_config(folder).get("architectures"), task, strict=strict)
    warnings = _said(warning)
    loaded = load_model(folder)
    if tokenizer is None:
        tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        warnings += _said(f"{folder} has no tokenizer files: the deployment will have none either.")
    if recipe is None and (folder / RECIPE_FILE).is_file():
        recipe = (folder / RECIPE_FILE).read_text(encoding="utf-8")
    return Source(loaded, found, folder, tokenizer, recipe, warnings)


def _said(warning: str | None) -> tuple[str, ...]:
    if warning is None:
        return ()
    logger.warning(warning)
    return (warning,)


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` on the CPU, in fp32 and eval mode, its quantizers frozen."""
    twin = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    set_observing(twin, False)
    return twin


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model folder's ``config.json``.

    Raises:
        InputError: No such folder (names near ones), no config in it (names checkpoints inside), or broken JSON.
    """
    if not folder.is_dir():
        siblings = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        near = difflib.get_close_matches(folder.name, siblings, n=1)
        hint = f" Did you mean {folder.parent / near[0]}?" if near else ""
        raise InputError(f"{folder}: no such model folder.{hint}")
    path = folder / "config.json"
    if not path.is_file():
        inside = sorted(p.parent for p in folder.glob("*/config.json"))
        hint = f" Did you mean {inside[-1]}?" if inside else " Is it the folder that training wrote?"
        raise InputError(f"{folder}: has no config.json, so it is no model folder.{hint}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: must hold a JSON object, got {type(config).__name__}.")
    return config


def load_tokenizer(folder: Path) -> Any:
    """A model folder's tokenizer, None where it has no tokenizer files.

    Raises:
        InputError: The files are there but cannot be used.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(f"{folder}: its tokenizer cannot be loaded: {first_line(error)}") from error
