from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sparsify.tasks.masked_language_modeling.metrics import guesses, mlm_metrics


def test_perplexity_and_accuracy_are_over_all_hidden_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, generator=generator)
    labels = torch.tensor([[1, -100, -100, 2], [-100, -100, -100, -100], [5, 4, 3, -100]])
    found, surprise = guesses(logits, labels)
    assert torch.equal(found, logits.argmax(-1))
    assert torch.all(surprise[labels == -100] == 0)
    metrics = mlm_metrics(found.numpy(), surprise.numpy(), labels.numpy())
    mean = F.cross_entropy(logits[labels != -100], labels[labels != -100])
    assert metrics["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    right = (logits.argmax(-1) == labels)[labels != -100].float().mean()
    assert metrics["accuracy"] == pytest.approx(float(right))


def test_outputs_of_another_runtime_are_arrays() -> None:
    logits, labels = np.zeros((1, 2, 4), dtype=np.float32), np.array([[3, -100]])
    found, surprise = guesses(logits, labels)
    assert found.tolist() == [[0, 0]]
    assert surprise.tolist() == [[pytest.approx(math.log(4)), 0.0]]


def test_a_hopeless_model_has_a_finite_perplexity() -> None:
    labels = np.array([[1]])
    assert math.isfinite(mlm_metrics(labels, np.array([[1e6]]), labels)["perplexity"])
    nothing = np.array([[-100]])
    assert mlm_metrics(nothing, np.array([[0.0]]), nothing) == {"perplexity": 1.0, "accuracy": 0.0}
