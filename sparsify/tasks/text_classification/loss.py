"""Loss of one class, several, or a number, normalized over the whole optimizer step."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from sparsify.tasks.base import Loss
from sparsify.tasks.losses import per_item
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION


def text_loss(problem: str, label_smoothing: float = 0.0) -> Loss:
    """A loss for the Trainer's ``compute_loss_func``: what the model's own head computes, over the whole step.

    Args:
        problem: transformers' ``problem_type``: cross-entropy for one class, binary cross-entropy for several, squared
            error for a number.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1); for one class.

    Returns:
        ``f(outputs, labels, num_items_in_batch=None) -> scalar``; ``outputs.logits`` is [batch, classes], ``labels``
        [batch] class ids or numbers, or [batch, classes] floats.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        target = labels.to(logits.device)
        if problem == REGRESSION:
            total = F.mse_loss(logits.flatten(), target.flatten().float(), reduction="sum")
        elif problem == MULTI:
            total = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="sum")
        else:
            total = F.cross_entropy(logits, target.flatten(), reduction="sum", label_smoothing=label_smoothing)
        return per_item(total, target.numel(), num_items_in_batch)

    return loss
