"""Masks from scores: exact counts, ties by index, per layer or over all layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from sparsify.errors import InputError
from sparsify.pruning.order import all_finite, keep_highest
from sparsify.pruning.patterns import REDUCTIONS, Pattern, check_fit, parse_pattern

RATIO_SLACK = 1e-2  # recipes write 0.67 for 1:3

Scope = Literal["layer", "global"]


def compute_masks(
    scores: Mapping[str, Tensor],
    sparsity: float | Mapping[str, float],
    pattern: str | Sequence[int] = "unstructured",
    scope: Scope = "layer",
    block_reduce: str = "mean",
    min_layer_sparsity: float = 0.0,
    max_layer_sparsity: float = 1.0,
    pad: bool = False,
) -> dict[str, Tensor]:
    """Masks that keep the highest scores.

    Of n units, exactly ``round(n * sparsity)`` go; equal scores go in the order of their index (and, over all layers,
    of the mapping). N:M prunes group by group, the cheapest first, so that any sparsity up to its ratio has a mask.

    Args:
        scores: By parameter name: a score for each weight, in the weight's shape, finite.
        sparsity: Fraction of zeros, in [0, 1]; by name for different ones. Over all layers only the total counts.
        pattern: ``unstructured``, ``block4``, ``N:M`` or ``[R, C]``; see ``patterns.parse_pattern``.
        scope: ``layer``: each parameter reaches its own sparsity; ``global``: one threshold for all.
        block_reduce: Score of a block: ``mean``, ``sum`` or ``max`` of its weights' scores.
        min_layer_sparsity: Each layer has at least this.
        max_layer_sparsity: Each layer has at most this.
        pad: Whether a weight that the pattern does not divide has shorter units at its edge, not an error.

    Returns:
        By name, in the weight's shape: True where the weight is kept.

    Raises:
        InputError: A shape that the pattern does not divide, a sparsity beyond what pattern or bounds allow, or a
            score that is not finite.
        ValueError: An unknown pattern, scope or reduction.
    """
    if scope not in ("layer", "global") or block_reduce not in REDUCTIONS:
        raise ValueError(f"scope is layer or global, block_reduce one of {REDUCTIONS}; got {scope!r}, {block_reduce!r}")
    if not 0.0 <= min_layer_sparsity <= max_layer_sparsity <= 1.0:
        raise ValueError(f"layer sparsity must lie in [0, 1], got {min_layer_sparsity} to {max_layer_sparsity}")
    form = parse_pattern(pattern, pad)
    shares = {name: _share(form, name, _named(sparsity, name)) for name in scores}
    units = {name: _units(form, name, score, block_reduce) for name, score in scores.items()}
    bounds = (min(min_layer_sparsity / form.ratio, 1.0), min(max_layer_sparsity / form.ratio, 1.0))
    if scope == "layer":
        kept = {n: _keep(u, round(len(u) * min(max(shares[n], bounds[0]), bounds[1]))) for n, u in units.items()}
    else:
        sizes = {name: form.unit_size(score.shape) for name, score in scores.items()}
        kept = _keep_global(units, sizes, shares, bounds)
    return {name: form.mask(score, kept[name]) for name, score in scores.items()}


def partial_masks(
    scores: Mapping[str, Tensor], held: Mapping[str, Tensor], coming: Mapping[str, Tensor], count: int
) -> dict[str, Tensor]:
    """Some of the way from one set of masks to a sparser one: the lowest scores of what is to go, over all layers.

    Args:
        scores: By name, in the weights' shapes, finite.
        held: Masks now; a name left out keeps everything.
        coming: Masks to come, True = kept, of every name; what ``held`` masks they mask, too.
        count: How many weights to mask now beyond ``held``; no more than are to go.

    Returns:
        By name: ``held`` with ``count`` more weights masked, weight by weight, whatever the pattern.
    """
    going = {name: (held[name] & ~mask) if name in held else ~mask for name, mask in coming.items()}
    flat = torch.cat([scores[name][open_] for name, open_ in going.items()])
    kept = torch.split(_keep(flat, min(count, len(flat))), [int(open_.sum()) for open_ in going.values()])
    result = {}
    for (name, open_), stays in zip(going.items(), kept, strict=True):
        result[name] = held[name].clone() if name in held else torch.ones_like(open_)
        result[name][open_] = stays
    return result


def _named(sparsity: float | Mapping[str, float], name: str) -> float:
    if not isinstance(sparsity, Mapping):
        return sparsity
    if name not in sparsity:
        raise InputError(f"no sparsity is given for {name}; given are {', '.join(sparsity) or 'none'}")
    return sparsity[name]


def _share(form: Pattern, name: str, sparsity: float) -> float:
    """Fraction of units to prune for a fraction of zeros."""
    if not 0.0 <= sparsity <= form.ratio + RATIO_SLACK:
        raise InputError(f"{name}: sparsity {sparsity:g} must lie between 0 and {form.ratio:g}, what the mask allows")
    # Within the slack of the ratio every unit goes: 0.5 of 2:4, but also the 0.66 that a recipe writes for 1:3.
    return 1.0 if form.ratio < 1.0 and sparsity >= form.ratio - RATIO_SLACK else min(sparsity / form.ratio, 1.0)


def _units(form: Pattern, name: str, score: Tensor, reduce: str) -> Tensor:
    check_fit(form, name, score.shape)
    if not all_finite(score):
        raise InputError(f"{name}: {int((~torch.isfinite(score)).sum())} of {score.numel()} scores are not finite")
    return form.units(score.float(), reduce)


def _keep(units: Tensor, count: int) -> Tensor:
    """True for all but the ``count`` lowest; of equal ones the first go."""
    return keep_highest([units], count)[0]


def _keep_global(
    units: Mapping[str, Tensor], sizes: Mapping[str, int], shares: Mapping[str, float], bounds: tuple[float, float]
) -> dict[str, Tensor]:
    if not units:
        return {}
    parts = [_bound(u, bounds) for u in units.values()]
    if len(set(sizes.values())) == 1:
        count = round(sum(len(u) * shares[name] for name, u in units.items()))
        fewest, most = (sum(limits) for limits in zip(*(_limits(u, bounds) for u in parts), strict=True))
        if not fewest <= count <= most:
            total = sum(len(u) for u in parts)
            raise InputError(f"{count} of {total} units are to go, but the layer bounds ask for {fewest} to {most}")
        return dict(zip(units, keep_highest(parts, count), strict=True))
    weights = torch.cat([torch.full_like(u, sizes[n], dtype=torch.int64) for n, u in units.items()])
    kept = _keep_weighted(torch.cat(parts), weights, sum(len(u) * sizes[n] * shares[n] for n, u in units.items()))
    return dict(zip(units, torch.split(kept, [len(u) for u in parts]), strict=True))


def _limits(units: Tensor, bounds: tuple[float, float]) -> tuple[int, int]:
    """Fewest and most units of a layer that may go."""
    return math.floor(len(units) * bounds[0]), math.ceil(len(units) * bounds[1])


def _bound(units: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Scores that force the least and forbid more than the most that a layer may lose."""
    fewest, most = _limits(units, bounds)
    if fewest > 0:
        units = units.masked_fill(~_keep(units, fewest), -torch.inf)
    return units.masked_fill(_keep(units, most), torch.inf) if most < len(units) else units


def _keep_weighted(units: Tensor, weights: Tensor, total: float) -> Tensor:
    """Units of different sizes: the lowest go, for the number of weights nearest to ``total``."""
    order = units.argsort(stable=True)
    gone = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    count = int((gone - total).abs().argmin())
    kept = torch.ones_like(units, dtype=torch.bool)
    kept[order[:count]] = False
    return kept
