"""Which units go where all layers together reach a sparsity, each between its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparsify.errors import InputError
from sparsify.pruning.order import keep_highest, on_one_device

_SURE = torch.finfo(torch.float32).min
"""Score of a unit that its layer's least sparsity asks for: behind those that are gone already, before all others."""
_DIGITS = 6
"""Of a number of units: 0.07 of 100 is 7.000000000000001 in floats, which is 7 units and not 8."""


def keep_global(
    units: Mapping[str, Tensor], sizes: Mapping[str, int], shares: Mapping[str, float], bounds: tuple[float, float]
) -> dict[str, Tensor]:
    """True for all but the lowest units of all layers together.

    Args:
        units: By layer: a float32 score for each unit, -inf where it is gone already.
        sizes: By layer: weights in a unit.
        shares: By layer: the fraction of its units that it adds to the total; which units go is up to the scores.
        bounds: Least and most fraction of its units that each layer may lose.

    Returns:
        By layer, a boolean for each unit. Where all units have one size their number is exact, else the number of
        weights is the nearest that there is.

    Raises:
        InputError: The bounds do not admit the total.
    """
    if not units:
        return {}
    parts = [_bound(u, bounds) for u in units.values()]
    alike = len(set(sizes.values())) == 1
    weights = [1 if alike else sizes[name] for name in units]
    count = round(_total({name: len(u) * w for (name, u), w in zip(units.items(), weights, strict=True)}, shares))
    _check(count, parts, weights, bounds)
    kept = keep_highest(parts, count) if alike else _keep_nearest(parts, weights, count)
    return dict(zip(units, kept, strict=True))


def _total(amounts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Sum of amounts times shares: layers of one share are one product, so that how weights are cut up changes nothing."""
    together: dict[float, int] = {}
    for name, amount in amounts.items():
        together[shares[name]] = together.get(shares[name], 0) + amount
    return math.fsum(share * amount for share, amount in together.items())


def _check(count: int, parts: Sequence[Tensor], weights: Sequence[int], bounds: tuple[float, float]) -> None:
    limits = [_limits(part, bounds) for part in parts]
    fewest, most = (sum(w * limit[end] for w, limit in zip(weights, limits, strict=True)) for end in (0, 1))
    if not fewest <= count <= most:
        total = sum(len(part) * w for part, w in zip(parts, weights, strict=True))
        what = "units" if set(weights) == {1} else "weights"
        raise InputError(
            f"{count} of {total} {what} are to go, but the layer bounds ask for {fewest} to {most}: "
            "change the sparsity, min_layer_sparsity or max_layer_sparsity"
        )


def _limits(units: Tensor, bounds: tuple[float, float]) -> tuple[int, int]:
    """Fewest and most units of a layer that may go: next to its bounds, outwards where units do not meet them."""
    least, most = (round(len(units) * bound, _DIGITS) for bound in bounds)
    return math.floor(least), math.ceil(most)


def _bound(units: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Scores that force the least and forbid more than the most that a layer may lose."""
    fewest, most = _limits(units, bounds)
    if fewest > 0:
        kept = keep_highest([units], fewest)[0]
        units = torch.where(kept, units, units.clamp(max=_SURE))
    return units.masked_fill(keep_highest([units], most)[0], torch.inf) if most < len(units) else units


def _keep_nearest(parts: Sequence[Tensor], sizes: Sequence[int], total: int) -> list[Tensor]:
    """Units of different sizes: the lowest go, for the number of weights nearest to ``total``."""
    units = torch.cat(on_one_device(parts))
    lengths = [len(part) for part in parts]
    weights = torch.tensor(sizes, device=units.device).repeat_interleave(torch.tensor(lengths, device=units.device))
    order = units.argsort(stable=True)
    gone = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    count = int((gone - total).abs().argmin())
    for certain in (-torch.inf, _SURE):
        first = int(torch.count_nonzero(units <= certain))
        # An earlier, lower total may have been passed by half a unit: what went then stays gone.
        if 2 * (int(gone[first]) - total) <= max(sizes):
            count = max(count, first)
    kept = torch.ones_like(units, dtype=torch.bool)
    kept[order[:count]] = False
    return [keep.to(part.device) for keep, part in zip(torch.split(kept, lengths), parts, strict=True)]
