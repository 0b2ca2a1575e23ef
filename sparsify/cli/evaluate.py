"""Entity metrics of an export, in torch and in ONNX Runtime, on one labelled file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.export.deployment import Evaluate, Logits
    from sparsify.export.source import Source
    from sparsify.tasks.columns import Sentences

_BATCH = 16


def entity_evaluation(
    file: str | Path, *, text: str | None = None, label: str | None = None, max_length: int | None = None
) -> Evaluate:
    """What ``export_onnx(evaluate=...)`` takes, for token classification: entity precision, recall, F1, accuracy.

    Args:
        file: Labelled data, in any format that training reads.
        text: Column of words.
        label: Column of tags.
        max_length: Sub-tokens kept of each sentence; the model's limit by default.

    Raises:
        InputError: The file cannot be read, here and not after the export.
    """
    from sparsify.tasks.columns import sentences
    from sparsify.tasks.readers import read_table

    names = {"text_column": text, "label_column": label}
    table = read_table(file, **{key: name for key, name in names.items() if name is not None})
    data = sentences(table, text=text, label=label)
    return lambda source, logits: _metrics(source, data, logits, max_length)


def _metrics(source: Source, data: Sentences, logits: Logits, max_length: int | None) -> dict[str, float]:
    from sparsify.tasks.encode import encode, sequence_limit
    from sparsify.tasks.labels import label_list
    from sparsify.tasks.metrics import decode, entity_metrics

    if source.task.name != "token_classification":
        raise InputError(f"--eval knows token_classification only; the model does {source.task.name}.")
    if source.tokenizer is None:
        raise InputError("--eval needs the model's tokenizer, and its folder has none.")
    found = label_list({"validation": data}, model_labels=source.labels)
    if found != source.labels:
        strange = sorted(set(found) - set(source.labels))
        raise InputError(f"{data.origin}: has labels that the model lacks: {', '.join(strange)}.")
    limit = sequence_limit(source.config, source.tokenizer, max_length)
    features = encode(data, source.tokenizer, source.labels, max_length=limit).features
    predicted: list[Sequence[str]] = []
    true: list[Sequence[str]] = []
    for start in range(0, len(features), _BATCH):
        inputs, labels = _padded(features[start : start + _BATCH], source)
        ours, theirs = decode(logits(inputs), labels, source.labels)
        predicted.extend(ours)
        true.extend(theirs)
    return entity_metrics(predicted, true)


def _padded(rows: list[dict[str, list[int]]], source: Source) -> tuple[dict[str, Any], Any]:
    from sparsify.tasks.loss import IGNORED

    fill = {"input_ids": source.config.pad_token_id or 0, "labels": IGNORED}
    length = max(len(row["input_ids"]) for row in rows)

    def padded(name: str) -> Any:
        filler = fill.get(name, 0)
        return np.array([row[name] + [filler] * (length - len(row[name])) for row in rows], dtype=np.int64)

    return {name: padded(name) for name in source.inputs}, padded("labels")
