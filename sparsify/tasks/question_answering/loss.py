"""Cross-entropy of where an answer begins and ends, normalized over the whole optimizer step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsify.distillation.losses import IGNORED
from sparsify.tasks.base import Loss
from sparsify.tasks.losses import per_item


def span_loss() -> Loss:
    """A loss for the Trainer's ``compute_loss_func``: the mean over starts and ends (Devlin et al., 2018).

    Returns:
        ``f(outputs, labels, num_items_in_batch=None) -> scalar``; ``outputs.start_logits`` and ``end_logits`` are
        [batch, length], ``labels`` [batch, 2] positions, -100 where a window does not count.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        named = isinstance(outputs, dict)
        pair = [outputs["start_logits"], outputs["end_logits"]] if named else list(outputs[:2])
        logits = torch.cat(pair).float()
        target = labels.T.flatten().to(logits.device)
        total = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum")
        return per_item(total, (target != IGNORED).sum(), num_items_in_batch)

    return loss
