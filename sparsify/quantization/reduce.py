"""One range for all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from sparsify.distributed import several_ranks
from sparsify.quantization.fake_quant import ActivationQuant


@torch.no_grad()
def average_ranges(quantizers: Sequence[ActivationQuant]) -> None:
    """Replace each range by that of all ranks which have seen data, scales and zero points with it; in place.

    It is the mean, which for a moving average is the average over all ranks' batches; for quantizers that ``widen``, the
    widest. One that no rank has used stays without a range. Without torch.distributed, nothing.
    """
    if not (quantizers and several_ranks()):
        return
    bounds = torch.stack([fq.bounds for fq in quantizers])
    seen = torch.stack([fq.count for fq in quantizers]).gt(0).to(bounds)
    widest = bounds * bounds.new_tensor([-1.0, 1.0])
    total = torch.cat([bounds * seen[:, None], seen[:, None]], 1)
    dist.all_reduce(total)
    dist.all_reduce(widest, dist.ReduceOp.MAX)  # one that has seen nothing holds zeros, as every range does
    means = total[:, :2] / total[:, 2:].clamp(min=1.0)
    widest *= bounds.new_tensor([-1.0, 1.0])
    for fq, mean, wide, ranks in zip(quantizers, means, widest, total[:, 2].tolist(), strict=True):
        if ranks:
            fq.bounds.copy_(wide if fq.widen else mean)
            fq.count.clamp_(min=1.0)
            fq.update()
