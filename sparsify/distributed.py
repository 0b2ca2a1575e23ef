"""Whether other processes work on the same model."""

from __future__ import annotations

import torch.distributed as dist


def in_group() -> bool:
    """Whether this process is in a process group, if only by itself."""
    return dist.is_available() and dist.is_initialized()


def several_ranks() -> bool:
    """Whether there are other ranks, with which gradients and ranges are averaged."""
    return in_group() and dist.get_world_size() > 1
