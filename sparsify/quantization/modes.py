"""Eval mode for a while, and forwards that only repeat an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; each module's own mode is put back, since some are kept in eval mode while others train."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def recomputing() -> bool:
    """Whether a forward runs inside a backward pass, as activation (gradient) checkpointing repeats it there."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
