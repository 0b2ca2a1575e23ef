"""Models and optimizers that stand inside others: DDP, ``torch.compile``, averages, Accelerate's optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sparsify.errors import InputError

_HOLDERS = (nn.parallel.DistributedDataParallel, nn.DataParallel, AveragedModel)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DDP, DataParallel, ``torch.compile`` or torch's ``AveragedModel``."""
    for _ in range(8):
        inner = getattr(model, "_orig_mod", None) or (model.module if isinstance(model, _HOLDERS) else None)
        if inner is None:
            return model
        model = inner
    return model


def unwrap_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside a wrapper such as Accelerate's (whose ``step`` calls no hooks of its own)."""
    for _ in range(4):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, torch.optim.Optimizer):
            break
        optimizer = inner
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"expected a torch optimizer, got {type(optimizer).__name__}")
    return optimizer
