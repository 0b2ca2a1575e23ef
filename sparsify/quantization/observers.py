"""How the range of a tensor is found: of activations by a moving average, of weights from the weight itself."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsify.quantization.qparams import QuantSpec, by_group

MOMENTUM = 0.05


@torch.no_grad()
def average_range(bounds: Tensor, count: Tensor, values: Tensor, momentum: float) -> None:
    """Move ``bounds`` (low, high) towards the range of ``values``, in place.

    The first batch sets the range; the next ones are averaged with equal weight until ``1 / count`` falls to
    ``momentum``; from there on it is an exponential moving average. No branch depends on data.

    Args:
        bounds: float32 [2].
        count: float32 scalar, batches seen so far; counted up.
        values: The batch.
        momentum: Weight of one batch in the long run.
    """
    count.add_(1.0)
    seen = torch.stack(torch.aminmax(values)).float()
    bounds.lerp_(seen, count.reciprocal().clamp_(min=momentum))


@torch.no_grad()
def widen_range(bounds: Tensor, count: Tensor, values: Tensor) -> None:
    """Widen ``bounds`` (low, high), in place, to the range of ``values``: for inputs that come from several places."""
    count.add_(1.0)
    low, high = torch.aminmax(values)
    bounds[0].clamp_(max=low.float())
    bounds[1].clamp_(min=high.float())


def weight_range(weight: Tensor, spec: QuantSpec) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of ``weight``, in float32: one of each, or one for each scale."""
    if spec.axis is None:
        low, high = torch.aminmax(weight)
        return low.float(), high.float()
    rows = by_group(weight, spec)
    return rows.amin(-1).float(), rows.amax(-1).float()
