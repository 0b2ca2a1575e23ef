"""A split through anything that gives a task's outputs: batches in the order of the file, and what metrics take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.distillation.losses import IGNORED
from sparsify.tasks.base import AnyReading

if TYPE_CHECKING:
    from transformers import EvalPrediction

    from sparsify.export.deployment import Outputs

Array = np.ndarray[Any, Any]
Shape = tuple[int | None, int | None]
ANY: Shape = (None, None)


@dataclass(frozen=True)
class Answered:
    """One batch.

    Attributes:
        outputs: The task's outputs, in their order.
        kept: What of them metrics take.
        labels: None where the split has none.
    """

    outputs: tuple[Array, ...]
    kept: Any
    labels: Array | None

    @property
    def rows(self) -> int:
        """How many examples."""
        return len(self.outputs[0])


def batches(
    reading: AnyReading, split: str, size: int, length: int | None = None, first: int | None = None
) -> Iterator[dict[str, Array]]:
    """A split as arrays, int64 and floats, padded to the longest of each batch.

    Args:
        reading: Holds the split.
        split: Its name.
        size: Examples of a batch.
        length: Pad to this length instead.
        first: Only so many examples.
    """
    features = reading.encoded[split].features[:first]
    collate = reading.task.collator(reading.tokenizer, max_length=length)
    for start in range(0, len(features), size):
        batch = collate([dict(f) for f in features[start : start + size]])
        yield {key: value.numpy() for key, value in batch.items()}


def answers(
    reading: AnyReading, split: str, run: Outputs, inputs: Sequence[str], size: int, shape: Shape = ANY
) -> Iterator[Answered]:
    """What ``run`` says of a split.

    Args:
        reading: Holds the split.
        split: Its name.
        run: From graph inputs (int64 [batch, length]) to the task's outputs, in their order.
        inputs: Names of the graph inputs.
        size: Examples of a batch.
        shape: Batch and length that ``run`` is fixed to, None where any will do.
    """
    for batch in batches(reading, split, shape[0] or size, shape[1]):
        rows, labels = len(batch["input_ids"]), batch.get("labels")
        given = {name: _filled(batch[name].astype(np.int64), shape[0]) for name in inputs}
        found = tuple(np.asarray(one)[:rows] for one in run(given))
        kept = reading.task.for_metrics(found if len(found) > 1 else found[0], labels)
        yield Answered(found, kept, labels)


def prediction(kept: Sequence[Any], labels: Sequence[Array | None]) -> EvalPrediction:
    """What a task's metrics take, of all batches."""
    from transformers import EvalPrediction

    known = [row for row in labels if row is not None]
    true = _joined(known) if len(known) == len(labels) else None
    if isinstance(kept[0], tuple):
        return EvalPrediction(tuple(_joined(one) for one in zip(*kept, strict=True)), true)
    return EvalPrediction(_joined(kept), true)


def _filled(value: Array, batch: int | None) -> Array:
    """Rows repeated up to the batch that the graph was exported for."""
    missing = (batch or 0) - len(value)
    return value if missing <= 0 else np.concatenate([value, np.repeat(value[-1:], missing, axis=0)])


def _joined(parts: Sequence[Array]) -> Array:
    """Batches in a row, those of shorter sequences padded with -100."""
    if parts[0].ndim > 1:
        longest = max(part.shape[1] for part in parts)
        parts = [
            np.pad(p, [(0, 0), (0, longest - p.shape[1]), *[(0, 0)] * (p.ndim - 2)], constant_values=IGNORED)
            for p in parts
        ]
    return np.concatenate(parts)
