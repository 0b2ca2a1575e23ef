"""Parameters that do not learn for a while, also where ranks average their gradients."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from sparsify.distributed import in_group

# By parameter, not by modifier: several modifiers may switch one parameter, and the last one counts.
_held: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def learns(parameter: nn.Parameter) -> bool:
    """Whether an optimizer step may move it."""
    return parameter.requires_grad and parameter not in _held


def let_learn(parameter: nn.Parameter, learn: bool) -> None:
    """Freeze a parameter, or let it learn.

    In a process group it keeps ``requires_grad``: DistributedDataParallel waits for the gradient of each parameter that
    had it when the model was wrapped. Its gradient is then zero, and ``drop_gradient`` must take it from the optimizer.
    """
    if parameter in _held:
        handle: RemovableHandle = _held[parameter]
        handle.remove()
        del _held[parameter]
        parameter.grad = None  # of a backward that came before this: zeros, which momentum and weight decay would use
    if not learn and parameter.requires_grad and in_group():
        # Zero, not dropped later alone: the norm that gradients are clipped by must not count it.
        _held[parameter] = parameter.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
    else:
        parameter.requires_grad_(learn)


def drop_gradient(parameter: nn.Parameter) -> None:
    """Just before the optimizer's step: without a gradient neither weight decay nor momentum moves it."""
    if parameter in _held:
        parameter.grad = None
