"""Entity-level metrics, as seqeval counts them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsify.tasks.token_classification.loss import IGNORED

Tags = Sequence[Sequence[str]]
_CHUNK = re.compile(r"^(O|[BIESLU]-.+)$")
_SAME_AS = {"L-": "E-", "U-": "S-"}


def decode(predictions: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], names: Sequence[str]) -> tuple[Tags, Tags]:
    """Predicted and true tags of the positions that count.

    Args:
        predictions: [sentences, length] class ids, or [sentences, length, classes] logits.
        labels: [sentences, length] class ids, -100 where nothing counts.
        names: Name of each class id.
    """
    if predictions.ndim == 3:
        predictions = predictions.argmax(-1)
    counted = [row != IGNORED for row in labels]
    predicted = [[names[i] for i in row[keep]] for row, keep in zip(predictions, counted, strict=True)]
    true = [[names[i] for i in row[keep]] for row, keep in zip(labels, counted, strict=True)]
    return predicted, true


def entity_metrics(predicted: Tags, true: Tags, *, per_entity: bool = False) -> dict[str, float]:
    """Precision, recall and F1 over whole entities (type and both borders right), and accuracy over tags.

    Tags that are not in a chunk scheme (parts of speech, say) count as one entity per token.

    Args:
        predicted: Predicted tags of each sentence.
        true: True tags, same lengths.
        per_entity: Also ``<type>_precision``, ``_recall``, ``_f1`` and ``_number`` for each type.

    Source: seqeval's default mode, the one of conlleval (Tjong Kim Sang and De Meulder, 2003).
    """
    from seqeval.metrics import accuracy_score, classification_report

    predicted, true = _chunked(predicted, true)
    if not any(true):
        return {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zero divisions are 0, as said in the call
        report = classification_report(true, predicted, output_dict=True, zero_division=0)
    overall = report.pop("micro avg", {"precision": 0.0, "recall": 0.0, "f1-score": 0.0})
    metrics = {
        "precision": float(overall["precision"]),
        "recall": float(overall["recall"]),
        "f1": float(overall["f1-score"]),
        "accuracy": float(accuracy_score(true, predicted)),
    }
    return metrics | (_each(report) if per_entity else {})


def _as_bioes(tags: Tags) -> Tags:
    # seqeval joins neighbouring entities of BILOU, whose L- and U- it does not know as ends
    return [[_SAME_AS.get(tag[:2], tag[:2]) + tag[2:] for tag in row] for row in tags]


def _each(report: dict[str, dict[str, float]]) -> dict[str, float]:
    named = {"precision": "precision", "recall": "recall", "f1": "f1-score", "number": "support"}
    types = {name: values for name, values in report.items() if not name.endswith(" avg")}
    return {f"{name}_{key}": float(values[old]) for name, values in types.items() for key, old in named.items()}


def _chunked(predicted: Tags, true: Tags) -> tuple[Tags, Tags]:
    names = {tag for row in [*predicted, *true] for tag in row}
    if all(_CHUNK.match(name) for name in names):
        return _as_bioes(predicted), _as_bioes(true)

    def one_each(tags: Tags) -> Tags:
        # S- stands for an entity of one token
        return [["O" if tag == "O" else f"S-{tag}" for tag in row] for row in tags]

    return one_each(predicted), one_each(true)
