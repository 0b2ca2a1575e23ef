"""Regularizers that drive whole units of a pattern to zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsify.pruning.patterns import parse_pattern


@torch.no_grad()
def group_lasso(weight: Tensor, pattern: str | Sequence[int], step: float, pad: bool = False) -> None:
    """Proximal step of the group lasso, in place: ``W_g <- W_g * max(0, 1 - step / ||W_g||)`` for each block g.

    Source: Yuan and Lin 2006, "Model selection and estimation in regression with grouped variables"; applied after the
    optimizer's own step (Parikh and Boyd 2014, "Proximal Algorithms").

    Args:
        weight: A parameter that the pattern divides.
        pattern: ``unstructured`` (each weight is its own group: the lasso) or a block.
        step: Learning rate times strength.
        pad: Whether blocks at the edge may be shorter.

    Raises:
        ValueError: N:M patterns have no groups that vanish.
    """
    form = parse_pattern(pattern, pad)
    if form.ratio < 1.0:
        raise ValueError(f"the group lasso needs a pattern of whole blocks, not {pattern}")
    norms = form.units(weight.float().square(), "sum").sqrt_()
    factor = (1.0 - step / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_min_(0.0)
    weight.mul_(form.spread(weight.shape, factor).to(weight.dtype))
