"""Entity metrics of an export, in torch and in ONNX Runtime, on one labelled file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.export.deployment import Evaluate, Logits, Shapes
    from sparsify.export.source import Source

_BATCH = 16


def entity_evaluation(
    file: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    max_length: int | None = None,
    shapes: Shapes = "dynamic",
) -> Evaluate:
    """What ``export_onnx(evaluate=...)`` takes, for token classification: entity precision, recall, F1, accuracy.

    Args:
        file: Labelled data, in any format that training reads.
        text: Column of words.
        label: Column of tags.
        max_length: Sub-tokens kept of each sentence; the model's limit by default.
        shapes: Those of the export.

    Raises:
        InputError: The file cannot be read, here and not after the export.
    """
    from sparsify.tasks.readers import read_table
    from sparsify.tasks.token_classification.columns import sentences
    from sparsify.tasks.token_classification.evaluation import evaluate_logits

    batch, length = (None, None) if shapes == "dynamic" else shapes
    names = {"text_column": text, "label_column": label}
    table = read_table(file, **{key: name for key, name in names.items() if name is not None})
    sentences(table, text=text, label=label)

    def evaluate(source: Source, logits: Logits) -> dict[str, float]:
        if source.task.name != "token_classification":
            raise InputError(f"--eval knows token_classification only; the model does {source.task.name}.")
        if source.tokenizer is None:
            raise InputError("--eval needs the model's tokenizer, and its folder has none.")
        limit = min(filter(None, (source.max_length, max_length, length)))

        def predict(inputs: dict[str, Any]) -> Any:
            rows = len(inputs["input_ids"])
            return logits({name: _filled(inputs[name], batch) for name in source.inputs})[:rows]

        return evaluate_logits(
            predict,
            file,
            source.tokenizer,
            source.labels,
            text_column=text,
            label_column=label,
            max_length=limit,
            pad_to=length,
            batch_size=batch or _BATCH,
        )

    return evaluate


def _filled(rows: Any, batch: int | None) -> Any:
    """Rows repeated up to the batch that the graph was exported for."""
    missing = max(0, (batch or 0) - len(rows))
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
