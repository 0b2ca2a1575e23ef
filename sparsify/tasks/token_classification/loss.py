"""Cross-entropy over tokens, normalised over the whole optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from sparsify.tasks.losses import per_item

IGNORED = -100
"""Label of positions that do not count: padding, special tokens, further sub-tokens of a word."""


def token_loss(label_smoothing: float = 0.0) -> Callable[..., Tensor]:
    """A loss for the Trainer's ``compute_loss_func``.

    Token classification heads take the mean of each micro-batch and ignore ``num_items_in_batch``, so with gradient
    accumulation (and on several ranks) the step comes out too large and micro-batches with few labels weigh too much.
    This one divides the sum over counted labels by their number in the whole step.

    Args:
        label_smoothing: Share of the target spread evenly over all labels, in [0, 1).

    Returns:
        ``f(outputs, labels, num_items_in_batch=None) -> scalar``; ``outputs.logits`` is [batch, length, labels] and
        ``labels`` [batch, length] with -100 where nothing counts. Without ``num_items_in_batch`` the mean over the
        counted labels given.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        flat, target = logits.flatten(0, -2).float(), labels.flatten().to(logits.device)
        total = F.cross_entropy(flat, target, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing)
        return per_item(total, (target != IGNORED).sum(), num_items_in_batch)

    return loss
