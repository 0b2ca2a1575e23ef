"""How much a weight matters: scores of a weight's own shape, lower goes first."""

from __future__ import annotations

from torch import Tensor


def magnitude(weight: Tensor) -> Tensor:
    """Absolute value of each weight (Han et al. 2015, "Learning both Weights and Connections").

    Args:
        weight: Any shape and float dtype.

    Returns:
        Float32 scores of the same shape, detached.
    """
    return weight.detach().abs().float()
