"""Against figures worked out by hand, and the definitions of GLUE."""

from __future__ import annotations

import numpy as np
import pytest

from sparsify.tasks.text_classification.glue import GLUE
from sparsify.tasks.text_classification.metrics import predicted, text_metrics
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION, SINGLE

TRUE = np.array([1, 1, 1, 0, 0, 0, 0, 0])
FOUND = np.array([1, 1, 0, 1, 0, 0, 0, 0])  # 2 true positives, 1 missed, 1 wrong, 4 right


def logits(found: np.ndarray, classes: int = 2) -> np.ndarray:
    return np.eye(classes)[found] * 3 - 1


def test_two_classes() -> None:
    metrics = text_metrics(logits(FOUND), TRUE, problem=SINGLE, classes=2)
    assert metrics["accuracy"] == 6 / 8
    assert metrics["precision"] == metrics["recall"] == metrics["f1"] == pytest.approx(2 / 3)
    # (2*4 - 1*1) / sqrt(3 * 3 * 5 * 5)
    assert metrics["matthews_correlation"] == pytest.approx(7 / 15)


def test_f1_is_about_the_positive_class() -> None:
    metrics = text_metrics(logits(1 - FOUND), 1 - TRUE, problem=SINGLE, classes=2, positive=0)
    assert metrics["f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("cola", {"matthews_correlation"}),
        ("sst2", {"accuracy"}),
        ("mrpc", {"accuracy", "f1", "combined_score"}),
        ("qqp", {"accuracy", "f1", "combined_score"}),
        ("qnli", {"accuracy"}),
    ],
)
def test_glue_gives_its_own_metrics(task: str, names: set[str]) -> None:
    metrics = text_metrics(logits(FOUND), TRUE, problem=SINGLE, classes=2, glue=GLUE[task])
    assert set(metrics) == names
    if "combined_score" in names:
        assert metrics["combined_score"] == pytest.approx((6 / 8 + 2 / 3) / 2)


def test_a_task_of_glue_with_other_labels_gives_what_fits() -> None:
    true = np.array([0, 1, 2])
    assert "f1_macro" in text_metrics(logits(true, 3), true, problem=SINGLE, classes=3, glue=GLUE["mrpc"])


def test_three_classes() -> None:
    true, found = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    metrics = text_metrics(logits(found, 3), true, problem=SINGLE, classes=3)
    assert metrics["accuracy"] == 0.75
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_several_classes_at_once() -> None:
    true = np.array([[1, 0], [1, 1], [0, 1]], dtype=float)
    outputs = np.array([[2.0, -1.0], [1.0, -3.0], [-1.0, 0.5]])
    metrics = text_metrics(outputs, true, problem=MULTI, classes=2)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert metrics["f1_macro"] == pytest.approx((1 + 2 / 3) / 2)


def test_numbers() -> None:
    outputs, true = np.array([[1.0], [2.0], [4.0]]), np.array([10.0, 20.0, 30.0])
    metrics = text_metrics(outputs, true, problem=REGRESSION, classes=1, glue=GLUE["stsb"])
    assert metrics["spearmanr"] == pytest.approx(1.0)
    assert metrics["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [10, 20, 30])[0, 1])
    assert metrics["combined_score"] == pytest.approx((metrics["pearson"] + metrics["spearmanr"]) / 2)
    assert text_metrics(outputs, true, problem=REGRESSION, classes=1)["mse"] == pytest.approx((81 + 324 + 676) / 3)


def test_constant_outputs_correlate_with_nothing() -> None:
    metrics = text_metrics(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]), problem=REGRESSION, classes=1)
    assert (metrics["pearson"], metrics["spearmanr"]) == (0.0, 0.0)
    assert text_metrics(np.ones((1, 1)), np.ones(1), problem=REGRESSION, classes=1)["pearson"] == 0.0


def test_what_logits_say() -> None:
    outputs = np.array([[0.5, 2.0], [-1.0, -2.0]])
    assert predicted(outputs, SINGLE).tolist() == [1, 0]
    assert predicted(outputs, MULTI).tolist() == [[1, 1], [0, 0]]
    assert predicted(np.array([[0.5], [2.0]]), REGRESSION).tolist() == [0.5, 2.0]
