"""Texts -> model inputs with labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsify.tasks.base import Encoded
from sparsify.tasks.text_classification.columns import Texts
from sparsify.tasks.text_classification.problem import MULTI
from sparsify.tasks.tokenizers import use_threads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


def encode(
    split: Texts,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    problem: str,
    *,
    max_length: int,
    workers: int | None = None,
) -> Encoded:
    """Tokenize texts, or pairs of them, and give each its label.

    Args:
        split: Texts with the names of their classes, or numbers.
        tokenizer: A fast tokenizer.
        labels: All classes, in the order of their ids.
        problem: transformers' ``problem_type``.
        max_length: Sub-tokens kept of each example, special ones included; the longer text of a pair is cut first.
        workers: Threads the tokenizer may use.

    Returns:
        ``labels`` of a row is a class id, a float for each class, or a number.
    """
    use_threads(workers)
    columns = [list(column) for column in zip(*split.texts, strict=True)]
    batch = tokenizer(*columns, truncation=True, max_length=max_length)
    features: list[dict[str, Any]] = [
        {key: values[i] for key, values in batch.items()} for i in range(len(split.texts))
    ]
    for row, label in zip(features, _labels(split, labels, problem) or (), strict=False):
        row["labels"] = label
    cut = sum(bool(encoding.overflowing) for encoding in batch.encodings or ())
    if cut:
        logger.warning(
            "%s: %d of %d examples are cut to %d sub-tokens; --max_seq_length sets the limit",
            *(split.origin, cut, len(features), max_length),
        )
    return Encoded(features)


def _labels(split: Texts, labels: Sequence[str], problem: str) -> Sequence[Any] | None:
    if split.values is not None:
        return split.values
    if split.tags is None:
        return None
    ids = {name: i for i, name in enumerate(labels)}
    rows = [{ids[str(tag)] for tag in row} for row in split.tags]
    if problem != MULTI:
        return [next(iter(row)) for row in rows]
    return [[float(i in row) for i in range(len(labels))] for row in rows]


def collator(tokenizer: PreTrainedTokenizerFast, *, max_length: int | None = None, multiple: int | None = None) -> Any:
    """Pads features to the longest of the batch, or to ``max_length``."""
    from transformers import DataCollatorWithPadding

    padding = "max_length" if max_length is not None else True
    return DataCollatorWithPadding(tokenizer, padding=padding, max_length=max_length, pad_to_multiple_of=multiple)
