"""A deployment folder opened to be used: session, labels, limits, tokenizer; no torch, no transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.errors import InputError
from sparsify.export.positions import longest_input
from sparsify.export.session import INPUTS, fixed_shape, metadata, open_session


class Deployment:
    """An opened deployment folder.

    Args:
        folder: The folder that ``sparsify-export`` wrote.
        threads: Threads of ONNX Runtime, 0 for its own choice.
        batch_size: Sequences that run at once, where the file does not fix it.

    Attributes:
        facts: What the exporter wrote into the file.
        config: The model's ``config.json``.
        size: Sequences that run at once.
        max_length: Longest input in tokens.

    Raises:
        InputError: There is no such folder, something in it is missing or broken, or no sequence may run at once.
    """

    def __init__(self, folder: str | Path, *, threads: int = 0, batch_size: int = 8) -> None:
        self.folder = Path(folder)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if self.folder.is_file():
            raise InputError(f"{self.folder}: is a file; give the deployment folder it lies in, {self.folder.parent}.")
        if not self.folder.is_dir():
            raise InputError(
                f"{self.folder}: no such deployment folder. sparsify-export --model_path MODEL writes one."
            )
        if not (self.folder / "model.onnx").is_file():
            raise InputError(_no_model(self.folder))
        self._session = open_session(self.folder / "model.onnx", threads=threads)
        self.facts = metadata(self._session)
        self.config = _json(self.folder / "config.json")
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        if unknown := [name for name in self._inputs if name not in INPUTS]:
            raise InputError(
                f"{self.folder / 'model.onnx'}: wants the input {unknown[0]!r}; known are {', '.join(INPUTS)}."
                " sparsify-export writes such files."
            )
        self._batch, self._length = fixed_shape(self._session)
        limit = self._limit()
        self.max_length = min(limit, self._length or limit)
        self.size = self._batch or batch_size

    def _limit(self) -> int:
        """Longest input that the file states, else what config and tokenizer do."""
        stated = self.facts.get("max_length")
        if stated:
            if not stated.isdecimal() or int(stated) < 1:
                raise InputError(
                    f"{self.folder / 'model.onnx'}: its max_length is {stated!r}, no number of tokens: export it again."
                )
            return int(stated)
        path = self.folder / "tokenizer_config.json"
        named = _json(path).get("model_max_length") if path.is_file() else None
        kind, positions, padding = map(self.config.get, ("model_type", "max_position_embeddings", "pad_token_id"))
        return longest_input(kind, positions, padding, named)

    @classmethod
    def of(cls, deployment: str | Path | Deployment, **options: Any) -> Deployment:
        """A folder opened with ``options``; one that is open already as it is."""
        return deployment if isinstance(deployment, Deployment) else cls(deployment, **options)

    @property
    def task(self) -> str:
        """What it does; token classification where an old file does not say."""
        return self.facts.get("task", "token_classification")

    @property
    def labels(self) -> list[str]:
        """Names of its classes, by id.

        Raises:
            InputError: It names none, or what stands there is no list of names.
        """
        if "labels" in self.facts:
            try:
                listed = json.loads(self.facts["labels"])
            except ValueError:
                listed = None
            if not isinstance(listed, list):
                told = f"its labels are {self.facts['labels'][:80]!r}, no list of names: export it again."
                raise InputError(f"{self.folder / 'model.onnx'}: {told}")
            return [str(label) for label in listed]
        names = self.config.get("id2label") or {}
        if not names:
            raise InputError(
                f"{self.folder}: the deployment names no labels, neither in its ONNX file nor in its config.json."
            )
        try:
            return [str(names[key]) for key in sorted(names, key=int)]
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.folder / 'config.json'}: id2label is no table of names by number.") from error

    def expect(self, task: str, wanted: str) -> None:
        """Refuse a model of another task.

        Raises:
            InputError: It does something else.
        """
        if self.task != task:
            raise InputError(f"{self.folder}: is a {self.task} model; {wanted} need a {task.replace('_', ' ')} model.")

    def tokenizer(self) -> Any:
        """Its tokenizer, of the tokenizers library, without padding.

        Raises:
            InputError: There is none, or it is broken.
        """
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; text cannot be read without it. Export with the model's tokenizer."
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise InputError(f"{path}: is no tokenizer: {error}") from error
        tokenizer.no_padding()
        return tokenizer

    def outputs(
        self, names: Sequence[str], ids: Sequence[Sequence[int]], segments: Sequence[Sequence[int]] | None = None
    ) -> list[NDArray[np.float32]]:
        """Outputs of a batch of sequences, at most ``size`` of them; padded to the longest, or to the file's length.

        Args:
            names: Which outputs.
            ids: Token ids of each sequence, special tokens included.
            segments: Token types of each; all 0 where None.

        Returns:
            Each output, [sequences, ...].
        """
        pad = self.config.get("pad_token_id")
        rows = self._batch or len(ids)
        length = self._length or max(len(row) for row in ids)
        values = {
            "input_ids": np.full((rows, length), pad if isinstance(pad, int) else 0, dtype=np.int64),
            "attention_mask": np.zeros((rows, length), dtype=np.int64),
            "token_type_ids": np.zeros((rows, length), dtype=np.int64),
        }
        values["attention_mask"][:, 0] = 1  # rows beyond the batch: a softmax over nothing would be NaN
        for row, sequence in enumerate(ids):
            values["input_ids"][row, : len(sequence)] = sequence
            values["attention_mask"][row, : len(sequence)] = 1
            if segments is not None:
                values["token_type_ids"][row, : len(sequence)] = segments[row]
        found = self._session.run(list(names), {name: values[name] for name in self._inputs})
        return [output[: len(ids)] for output in found]


def _no_model(folder: Path) -> str:
    """What to say of a folder without ONNX file: most are those that training wrote."""
    inside = folder / "deployment"
    if (inside / "model.onnx").is_file():
        return f"{folder}: holds no model.onnx; did you mean {inside}?"
    said = f"{folder}: holds no model.onnx"
    if (folder / "config.json").is_file():
        return f"{said}: it is a model that is not exported yet. sparsify-export --model_path {folder} does it."
    return f"{said}; a deployment folder is what sparsify-export --model_path MODEL writes."


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold a JSON object, got {type(value).__name__}.")
    return value
