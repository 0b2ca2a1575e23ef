from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from sparsify.tasks.text_classification.loss import text_loss
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION, SINGLE
from tests.helpers import ner

CASES: dict[str, tuple[list[str], Any]] = {
    SINGLE: (["a", "b", "c"], torch.tensor([0, 2, 1, 1])),
    MULTI: (["a", "b", "c"], torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])),
    REGRESSION: (["score"], torch.tensor([0.5, -1.0, 2.0, 0.0])),
}


@pytest.mark.parametrize("problem", CASES)
def test_it_is_what_the_models_head_computes(problem: str) -> None:
    labels, target = CASES[problem]
    model = ner.model(labels, head="SequenceClassification", problem_type=problem)
    outputs = model(input_ids=torch.randint(5, 30, (4, 6)), labels=target)
    assert text_loss(problem)(outputs, target).item() == pytest.approx(outputs.loss.item(), rel=1e-6)


@pytest.mark.parametrize("problem", CASES)
def test_micro_batches_add_up_to_the_batch(problem: str) -> None:
    labels, target = CASES[problem]
    logits = torch.randn(4, len(labels))
    loss = text_loss(problem)
    items = target.ne(-100).sum()  # as the Trainer counts
    parts = [loss({"logits": logits[part]}, target[part], items) for part in (slice(0, 3), slice(3, 4))]
    assert sum(parts).item() == pytest.approx(loss({"logits": logits}, target).item(), rel=1e-6)  # type: ignore[union-attr]


def test_smoothing_is_torchs() -> None:
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    expected = F.cross_entropy(logits, target, label_smoothing=0.2)
    assert text_loss(SINGLE, 0.2)({"logits": logits}, target).item() == pytest.approx(expected.item())
