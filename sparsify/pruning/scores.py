"""How much a weight matters: scores of a weight's own shape, lower goes first."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

SNIP_DECAY = 0.9
"""What a step leaves of the scores before it in ``snip_momentum``."""


def magnitude(weight: Tensor) -> Tensor:
    """Absolute value of each weight (Han et al. 2015, "Learning both Weights and Connections").

    Args:
        weight: Any shape and float dtype.

    Returns:
        Float32 scores of the same shape, detached.
    """
    return weight.detach().abs().float()


def gradient(weight: Tensor, grad: Tensor) -> Tensor:
    """Absolute gradient: how fast the loss moves with each weight.

    Args:
        weight: Any shape and float dtype; not looked at.
        grad: Its gradient.

    Returns:
        Float32 scores of the same shape, detached.
    """
    return grad.detach().abs().float()


def snip(weight: Tensor, grad: Tensor) -> Tensor:
    """``|weight * grad|``: first-order change of the loss without the weight (Lee et al. 2019, "SNIP").

    Args:
        weight: Any shape and float dtype.
        grad: Its gradient.

    Returns:
        Float32 scores of the same shape, detached.
    """
    return (weight.detach().float() * grad.detach().float()).abs_()


def taylor(weight: Tensor, grad: Tensor) -> Tensor:
    """``(weight * grad)^2``: first-order Taylor importance (Molchanov et al. 2019, "Importance Estimation").

    Args:
        weight: Any shape and float dtype.
        grad: Its gradient.

    Returns:
        Float32 scores of the same shape, detached; sums over steps estimate the importance.
    """
    return (weight.detach().float() * grad.detach().float()).square_()


def movement(weight: Tensor, grad: Tensor) -> Tensor:
    """``-weight * grad``: high where a weight moves away from zero (Sanh et al. 2020, "Movement Pruning").

    Args:
        weight: Any shape and float dtype.
        grad: Its gradient.

    Returns:
        Float32 scores of the same shape, detached, of either sign; they are summed over steps.
    """
    return (weight.detach().float() * grad.detach().float()).neg_()


def random(weight: Tensor, name: str, seed: int = 0) -> Tensor:
    """Uniform scores in [0, 1), the same each time for the same name and seed: what any other score must beat.

    Args:
        weight: Gives shape and device.
        name: The parameter's name.
        seed: Of the whole model.

    Returns:
        Float32 scores of the weight's shape.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(weight.shape, generator=generator).to(weight.device)
