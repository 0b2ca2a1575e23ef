"""Asking a teacher about all examples once, and keeping what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsify.distillation.cache import AnswerCache, Answers
from sparsify.distillation.losses import is_logits
from sparsify.distillation.teacher import Teacher, layer_key
from sparsify.errors import InputError

Feature = Mapping[str, Any]
_VERSION = 1
_PART_BYTES = 256 * 2**20
_CONFIG_NOISE = ("_name_or_path", "transformers_version", "_commit_hash")


@dataclass(frozen=True)
class Wanted:
    """Which answers are kept.

    Attributes:
        outputs: Names of the model's outputs; None for all logits.
        layers: Layers whose outputs are kept too, by name.
        dtype: In what they are stored; float32 keeps a teacher in fp32 exactly.
    """

    outputs: tuple[str, ...] | None = None
    layers: Mapping[str, nn.Module] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32

    def of(self, answers: Mapping[str, Any]) -> dict[str, Tensor]:
        """Those among all answers of a teacher.

        Raises:
            InputError: One is not among them.
        """
        layers = [layer_key(name) for name in self.layers]
        names = self.outputs
        if names is None:
            every = [name for name, value in answers.items() if is_logits(name, value) and name not in layers]
            names = tuple([n for n in every if n.endswith("logits")] or every)
        names = (*names, *layers)
        if lacking := [name for name in names if not isinstance(answers.get(name), Tensor)]:
            raise InputError(f"the teacher gives no output {lacking[0]!r}; it gives {', '.join(answers)}")
        return {name: answers[name] for name in names}


def answers_key(teacher: Teacher, features: Sequence[Feature], wanted: Wanted) -> str:
    """sha256 over all that the answers depend on: weights, configuration, the order of labels, the examples, ``wanted``.

    Args:
        teacher: Its weights are read where they are.
        features: One mapping an example, of lists of ints.
        wanted: Which answers.
    """
    keys = teacher.reads(sorted(features[0]))
    about = {
        "version": _VERSION,
        "model": type(teacher.model).__name__,
        "config": _config(teacher.model),
        "order": teacher.order,
        "inputs": keys,
        "outputs": wanted.outputs,
        "layers": sorted(wanted.layers),
        "dtype": str(wanted.dtype),
    }
    found = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for name, tensor in sorted(teacher.model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for feature in features:
        for key in keys:
            values = np.asarray(feature[key], dtype=np.int64)
            found.update(f"{key} {len(values)}".encode())
            found.update(values.tobytes())
    return found.hexdigest()


def _config(model: nn.Module) -> dict[str, Any]:
    config: Any = getattr(model, "config", None)
    found: dict[str, Any] = config.to_dict() if hasattr(config, "to_dict") else {}
    return {key: value for key, value in found.items() if key not in _CONFIG_NOISE}


def keep_answers(
    teacher: Teacher,
    features: Sequence[Feature],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Tensor]],
    folder: Path,
    *,
    wanted: Wanted | None = None,
    batch_size: int = 16,
    part: int | None = None,
) -> tuple[AnswerCache, int]:
    """Answers of a teacher for all examples, from ``folder`` or asked for now; several processes share the work.

    Args:
        teacher: Runs where it is.
        features: One mapping an example: ``input_ids``, ``attention_mask``, ...; without padding.
        collate: Makes a batch of some of them.
        folder: Below it each teacher and data set has a folder of its own.
        wanted: Which answers; all logits by default.
        batch_size: Examples that the teacher reads at once; examples of like length go together.
        part: Examples of a file; by default as many as make 256 MiB.

    Returns:
        The cache, and how many examples were asked about now (0: all were there).

    Raises:
        InputError: The answers depend on more than the example: ``collate`` changes the inputs, the teacher reads no
            attention mask, or an output has no dimension of examples or tokens. Or the folder cannot be written.
    """
    wanted = wanted or Wanted()
    asking = _Asking(teacher, features, collate, wanted, batch_size)
    shapes = asking.shapes()
    size = part or _part_size(shapes, max(len(f["input_ids"]) for f in features), wanted.dtype)
    home = folder / answers_key(teacher, features, wanted)[:32]
    cache = AnswerCache(home, len(features), size, left=asking.left)
    asked = 0
    for wait in (False, True):  # first what nobody works on, then what somebody else may not have finished
        for index in cache.missing():
            with cache.claim(index, wait=wait) as mine:
                if mine:
                    cache.write(index, asking.about(cache.parts[index], shapes))
                    asked += len(cache.parts[index])
    return cache, asked


def _part_size(shapes: Mapping[str, tuple[bool, int]], longest: int, dtype: torch.dtype) -> int:
    widest = sum(width * (longest if by_token else 1) for by_token, width in shapes.values())
    return max(16, min(4096, _PART_BYTES // max(1, widest * dtype.itemsize)))


class _Asking:
    """One pass of a teacher over examples."""

    def __init__(
        self, teacher: Teacher, features: Sequence[Feature], collate: Any, wanted: Wanted, batch_size: int
    ) -> None:
        self._teacher, self._features, self._wanted, self._size = teacher, features, wanted, batch_size
        self._collate = collate
        self.left = False
        self._check()

    def _batch(self, indices: Sequence[int]) -> Mapping[str, Tensor]:
        made: Mapping[str, Tensor] = self._collate([dict(self._features[i]) for i in indices])
        return made

    def _check(self) -> None:
        by_length = sorted(range(len(self._features)), key=lambda i: len(self._features[i]["input_ids"]))
        few = list(dict.fromkeys([by_length[0], by_length[-1], *range(min(16, len(self._features)))]))
        if "attention_mask" not in self._teacher.reads(list(self._features[0])):
            raise InputError(
                "the teacher reads no attention_mask, so what it says of an example depends on the padding of the batch:"
                " its outputs cannot be kept"
            )
        batch = self._batch(few)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        for row, index in enumerate(few):
            if ids[row][mask[row] == 1].tolist() != list(self._features[index]["input_ids"]):
                raise InputError(
                    "examples reach the model otherwise than they are stored (words are masked at random, or they hold"
                    " padding): a teacher's outputs for them cannot be kept"
                )
        self.left = bool(mask[0, 0] == 0)  # of the shortest

    def _ask(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stop = self._teacher.listen(self._wanted.layers)
        try:
            return self._wanted.of(self._teacher(**batch))
        finally:
            stop()

    def shapes(self) -> dict[str, tuple[bool, int]]:
        """Of each answer: whether it has a row a token (or else one an example), and how many numbers a row has.

        Found by asking about one example twice, the second time with a token less.
        """
        whole = self._batch([max(range(len(self._features)), key=lambda i: len(self._features[i]["input_ids"]))])
        length = whole["input_ids"].shape[1]
        cut = {k: v[:, :-1] if v.dim() > 1 and v.shape[1] == length else v for k, v in whole.items()}
        long, short = self._ask(whole), self._ask(cut)
        found = {}
        for name, value in long.items():
            by_token = value.shape[:2] == (1, length) and short[name].shape == (1, length - 1, *value.shape[2:])
            if not by_token and not (value.shape[:1] == (1,) and short[name].shape == value.shape):
                raise InputError(
                    f"output {name!r} of the teacher is {list(value.shape)} for an example of {length} tokens: neither"
                    " one row for each token nor one for the example, so it cannot be kept"
                )
            found[name] = (by_token, value[0].numel() // (length if by_token else 1))
        return found

    def about(self, examples: Sequence[int], shapes: Mapping[str, tuple[bool, int]]) -> Answers:
        """What the teacher says of these examples, in their order."""
        kept: dict[int, dict[str, Tensor]] = {}
        for indices in self._batches(examples):
            batch = self._batch(indices)
            answers = {n: v.to("cpu", self._wanted.dtype) for n, v in self._ask(batch).items()}
            mask = batch["attention_mask"].cpu() == 1
            for row, index in enumerate(indices):
                kept[index] = {n: v[row][mask[row]] if shapes[n][0] else v[row].clone() for n, v in answers.items()}
        order = list(examples)
        lengths = torch.tensor([len(self._features[i]["input_ids"]) for i in order])
        tokens = {n: torch.cat([kept[i][n] for i in order]) for n, (by_token, _) in shapes.items() if by_token}
        rows = {n: torch.stack([kept[i][n] for i in order]) for n, (by_token, _) in shapes.items() if not by_token}
        return Answers(lengths, tokens, rows)

    def _batches(self, examples: Sequence[int]) -> Iterator[list[int]]:
        """Of like length, so that little padding is read."""
        ordered = sorted(examples, key=lambda i: len(self._features[i]["input_ids"]))
        for start in range(0, len(ordered), self._size):
            yield ordered[start : start + self._size]
