"""HiddenStateDistillationModifier: the loss on the encoder's last hidden state, and the head that is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.hidden_state_distillation import HiddenStateDistillationModifier
from tests.helpers.models import tiny_classifier, token_batch


def loss_of(modifier: HiddenStateDistillationModifier, student: Any, teacher: Any, batch: dict[str, Tensor]) -> Tensor:
    run: Any = SimpleNamespace(model=student, teacher=teacher, loss_items=None, loss_scale=1.0)
    modifier.on_attach(run)
    out = student(**batch)
    return modifier.on_loss(run, out.loss, batch, out)


@pytest.mark.parametrize("family", ["bert", "distilbert", "deberta-v2"])
@pytest.mark.parametrize("task_weight", [0.0, 0.5])
def test_is_the_error_of_the_last_hidden_state(family: str, task_weight: float) -> None:
    student, teacher = (tiny_classifier(family, seed=seed).eval() for seed in (0, 1))
    batch = token_batch()
    mask = batch["attention_mask"].bool()
    read = {k: v for k, v in batch.items() if k != "labels"}
    ours, theirs = (m(**read, output_hidden_states=True).hidden_states[-1][mask] for m in (student, teacher))
    wanted = 3.0 * F.mse_loss(ours, theirs) + task_weight * student(**batch).loss
    modifier = HiddenStateDistillationModifier(gain=3.0, task_weight=task_weight)
    assert float(loss_of(modifier, student, teacher, batch)) == pytest.approx(float(wanted), rel=1e-5)


def test_without_the_task_the_head_is_never_moved() -> None:
    student, teacher = tiny_classifier(seed=0), tiny_classifier(seed=1)
    head = student.classifier.weight.detach().clone()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2, weight_decay=0.5)
    recipe = "modifiers:\n  - !HiddenStateDistillationModifier {gain: 5.0, task_weight: 0.0, end_epoch: 1.0}\n"
    batch, losses = token_batch(), []
    with load_recipe(recipe).attach(student, optimizer, 12, teacher=teacher) as run:
        for _ in range(12):
            run.begin_step()
            out = student(**batch)
            loss = run.loss(out.loss, inputs=batch, outputs=out)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    assert torch.equal(student.classifier.weight, head)
    assert losses[-1] < 0.5 * losses[0]


def test_another_width_and_no_encoder_are_refused() -> None:
    plain = nn.Linear(2, 2)
    with pytest.raises(RecipeError, match="the student is a Linear without a part that is its encoder"):
        HiddenStateDistillationModifier().pairs(plain, plain)
    (pair,) = HiddenStateDistillationModifier(layer="0").pairs(nn.Sequential(plain), nn.Sequential(plain))
    assert pair[0][0] == "0"
