"""What the tasks' losses share: they are normalized over the whole optimizer step."""

from __future__ import annotations

import torch
from torch import Tensor


def per_item(total: Tensor, counted: Tensor | int, in_step: Tensor | int | None) -> Tensor:
    """A sum over a micro-batch by the number of its items in the whole step.

    Heads of transformers take the mean of each micro-batch and ignore ``num_items_in_batch``, so with gradient
    accumulation (and on several ranks) the step comes out too large and small micro-batches weigh too much.

    Args:
        total: The sum, a scalar.
        counted: Items in the micro-batch, which count where the step's number is not known.
        in_step: The Trainer's ``num_items_in_batch``.
    """
    if in_step is None:
        return total / torch.as_tensor(counted, device=total.device).clamp(min=1)
    items = torch.as_tensor(in_step, device=total.device)
    # DataParallel repeats the number once per device, and the Trainer scales the loss as if each device took its share
    return total / (items.flatten()[0].clamp(min=1) * items.numel())
