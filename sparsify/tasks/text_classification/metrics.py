"""Metrics of text classification, as GLUE defines them, from scikit-learn and scipy."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from sparsify.tasks.text_classification.glue import GlueTask
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION

Array = np.ndarray[Any, Any]


def predicted(outputs: Array, problem: str) -> Array:
    """What logits say: class ids [N]; for several classes 0 or 1 for each [N, C]; for a number itself [N]."""
    if problem == REGRESSION:
        return outputs.reshape(-1)
    return (outputs > 0).astype(np.int64) if problem == MULTI else outputs.argmax(-1)


def text_metrics(
    outputs: Array, true: Array, *, problem: str, classes: int, glue: GlueTask | None = None, positive: int = 1
) -> dict[str, float]:
    """The metrics of a problem, or of a task of GLUE.

    Args:
        outputs: Logits [N, C].
        true: Class ids [N], 0 or 1 for each class [N, C], or numbers [N].
        problem: transformers' ``problem_type``.
        classes: How many there are.
        glue: The task of GLUE, whose metrics are all that is given, and their mean where there are several.
        positive: The class that F1 of two classes is about.
    """
    found = predicted(outputs, problem)
    if problem == REGRESSION:
        metrics = _regression(found, true)
    elif problem == MULTI:
        metrics = _multi_label(found, true)
    else:
        metrics = _single_label(found, true, classes, positive)
    if glue is None or not set(glue.metrics) <= set(metrics):
        return metrics
    metrics = {name: metrics[name] for name in glue.metrics}
    return metrics if len(metrics) == 1 else metrics | {"combined_score": sum(metrics.values()) / len(metrics)}


def _single_label(found: Array, true: Array, classes: int, positive: int) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_recall_fscore_support

    metrics = {
        "accuracy": float(accuracy_score(true, found)),
        "matthews_correlation": float(matthews_corrcoef(true, found)),
    }
    if classes > 2:
        return metrics | {"f1_macro": float(f1_score(true, found, average="macro", zero_division=0))}
    scores = precision_recall_fscore_support(true, found, labels=[positive], zero_division=0)
    return metrics | dict(zip(("precision", "recall", "f1"), (float(score[0]) for score in scores[:3]), strict=True))


def _multi_label(found: Array, true: Array) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    true = true.astype(np.int64)
    averages = {
        f"f1_{kind}": float(f1_score(true, found, average=kind, zero_division=0)) for kind in ("micro", "macro")
    }
    return {"accuracy": float(accuracy_score(true, found)), **averages}


def _regression(found: Array, true: Array) -> dict[str, float]:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant input has no correlation, which counts as 0 below
        several = len(true) > 1
        pearson = float(pearsonr(found, true)[0]) if several else 0.0
        spearman = float(spearmanr(found, true)[0]) if several else 0.0
    return {
        "pearson": 0.0 if math.isnan(pearson) else pearson,
        "spearmanr": 0.0 if math.isnan(spearman) else spearman,
        "mse": float(mean_squared_error(true, found)),
    }
