"""Parameters that do not learn for a while, also where ranks average their gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from sparsify.distributed import in_group

# By parameter, not by modifier: several modifiers may switch one parameter, and the last one counts.
_held: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


@dataclass(slots=True)
class _Claims:
    """Whether a parameter learnt before anybody switched it, and who wants what now, the latest start last."""

    before: bool
    wanted: list[tuple[float, object, bool]] = field(default_factory=list)


_claims: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def claim(parameter: nn.Parameter, owner: object, learn: bool, since: float, before: bool | None = None) -> bool:
    """Freeze a parameter, or let it learn, until ``release``; of several owners the one that began last is heard.

    Args:
        parameter: What is switched.
        owner: Whose switch it is.
        learn: What the owner wants.
        since: When the owner began.
        before: Whether the parameter learnt before all owners, where that is known; left out: as it does now.

    Returns:
        Whether it learnt before the first of its owners.
    """
    if parameter not in _claims:
        _claims[parameter] = _Claims(learns(parameter) if before is None else before)
    claims: _Claims = _claims[parameter]
    others = [made for made in claims.wanted if made[1] is not owner]
    claims.wanted = sorted([*others, (since, owner, learn)], key=lambda made: made[0])
    let_learn(parameter, claims.wanted[-1][2])
    return claims.before


def release(parameter: nn.Parameter, owner: object) -> None:
    """Take back what ``owner`` claimed: the other owners are heard, or the parameter is what it was before them all."""
    if parameter not in _claims:
        return
    claims: _Claims = _claims[parameter]
    claims.wanted = [made for made in claims.wanted if made[1] is not owner]
    if claims.wanted:
        let_learn(parameter, claims.wanted[-1][2])
    else:
        del _claims[parameter]
        let_learn(parameter, claims.before)


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
