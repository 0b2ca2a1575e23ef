"""One range for all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from sparsify.quantization.fake_quant import ActivationQuant


@torch.no_grad()
def average_ranges(quantizers: Sequence[ActivationQuant]) -> None:
    """Replace each range by its mean over all ranks, scales and zero points with it; one all-reduce.

    The moving average is linear, so this is the average over all ranks' batches. Without torch.distributed, nothing.
    """
    if not (quantizers and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    bounds = torch.stack([fq.bounds for fq in quantizers])
    dist.all_reduce(bounds)
    bounds /= dist.get_world_size()
    for fq, mean in zip(quantizers, bounds, strict=True):
        fq.bounds.copy_(mean)
        fq.update()
