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

    Heads of transformers let padding take part in the softmax, so that their loss depends on what a window is batched
    with, and a step in two parts is another step. Here it does not.

    Returns:
        ``f(outputs, labels, num_items_in_batch=None) -> scalar``; ``outputs.start_logits`` and ``end_logits`` are
        [batch, length], ``labels`` [batch, 3]: positions of start and end, and the number of tokens; -100 where a window
        does not count.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        named = isinstance(outputs, dict)
        pair = [outputs["start_logits"], outputs["end_logits"]] if named else list(outputs[:2])
        start, end, length = labels.to(pair[0].device).unbind(-1)
        padding = torch.arange(pair[0].shape[-1], device=length.device) >= length[:, None]
        logits = torch.cat(pair).float()
        logits = logits.masked_fill(padding.repeat(2, 1), torch.finfo(torch.float32).min / 2)
        total = F.cross_entropy(logits, torch.cat([start, end]), ignore_index=IGNORED, reduction="sum")
        # The Trainer counts the entries of labels: three to a window, of which two have a loss.
        return per_item(total * (3 / 2), (labels != IGNORED).sum(), num_items_in_batch)

    return loss
