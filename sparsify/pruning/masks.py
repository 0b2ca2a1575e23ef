"""Masks from scores: exact counts, ties by index, per layer or over all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from sparsify.errors import InputError
from sparsify.pruning.global_choice import keep_global
from sparsify.pruning.order import all_finite, keep_highest, on_one_device
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
    held: Mapping[str, Tensor] | None = None,
    overwrite: bool = False,
) -> dict[str, Tensor]:
    """Masks that keep the highest scores.

    Of n units, exactly ``round(n * sparsity)`` go; equal scores go in the order of their index (and, over all layers,
    of the mapping). N:M prunes group by group, the cheapest first, so that any sparsity up to its ratio has a mask.
    Over all layers with units of different sizes, the number of weights comes as near to the total as units allow.
    A layer without elements has nothing to prune, whatever the pattern.

    Args:
        scores: By parameter name: a score for each weight, in the weight's shape, finite.
        sparsity: Fraction of zeros, in [0, 1]; by name for different ones. Over all layers only the total counts.
        pattern: ``unstructured``, ``block4``, ``N:M`` or ``[R, C]``; see ``patterns.parse_pattern``.
        scope: ``layer``: each parameter reaches its own sparsity; ``global``: one threshold for all.
        block_reduce: Score of a block: ``mean``, ``sum`` or ``max`` of its weights' scores.
        min_layer_sparsity: Each layer has at least this.
        max_layer_sparsity: Each layer has at most this.
        pad: Whether a weight that the pattern does not divide has shorter units at its edge, not an error.
        held: By name, masks so far (True = kept): the units that they prune go before all others, whatever the scores,
            so what is masked stays masked while sparsity grows. A name left out keeps everything.
        overwrite: Whether ``scores`` are the function's to change, which saves a copy of those that ``held`` names.

    Returns:
        By name, in the weight's shape: True where the weight is kept.

    Raises:
        InputError: A shape that the pattern does not divide, a sparsity beyond what pattern or bounds allow, or a
            score that is not finite.
        ValueError: An unknown pattern, scope or reduction.
    """
    _check_options(scope, block_reduce, min_layer_sparsity, max_layer_sparsity)
    form = parse_pattern(pattern, pad)
    shares = {name: _share(form, name, _named(sparsity, name)) for name in scores}
    for name, score in scores.items():
        _check(form, name, score)
    empty = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items() if not score.numel()}
    held = held or {}
    scores = _masked_lowest({n: score for n, score in scores.items() if n not in empty}, held, overwrite)
    units = {name: _units(form, score, block_reduce, held.get(name)) for name, score in scores.items()}
    bounds = (_of_units(form, min_layer_sparsity), _of_units(form, max_layer_sparsity))
    if scope == "layer":
        kept = _keep_by_layer(units, shares, bounds)
    else:
        sizes = {name: form.unit_size(score.shape) for name, score in scores.items()}
        kept = keep_global(units, sizes, shares, bounds)
    return {name: form.mask(score, kept[name]) for name, score in scores.items()} | empty


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
    flat = torch.cat(on_one_device([scores[name][open_] for name, open_ in going.items()]))
    kept = torch.split(_keep(flat, min(count, len(flat))), [int(open_.sum()) for open_ in going.values()])
    result = {}
    for (name, open_), stays in zip(going.items(), kept, strict=True):
        result[name] = held[name].clone() if name in held else torch.ones_like(open_)
        result[name][open_] = stays.to(open_.device)
    return result


def _check_options(scope: str, block_reduce: str, least: float, most: float) -> None:
    if scope not in ("layer", "global") or block_reduce not in REDUCTIONS:
        raise ValueError(f"scope is layer or global, block_reduce one of {REDUCTIONS}; got {scope!r}, {block_reduce!r}")
    if not 0.0 <= least <= most <= 1.0:
        raise ValueError(f"layer sparsity must lie in [0, 1], got {least} to {most}")


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
    return _of_units(form, sparsity)


def _of_units(form: Pattern, sparsity: float) -> float:
    # Within the slack of the ratio every unit goes: 0.5 of 2:4, but also the 0.66 that a recipe writes for 1:3.
    return 1.0 if form.ratio < 1.0 and sparsity >= form.ratio - RATIO_SLACK else min(sparsity / form.ratio, 1.0)


def _check(form: Pattern, name: str, score: Tensor) -> None:
    check_fit(form, name, score.shape)
    if not all_finite(score):
        raise InputError(f"{name}: {int((~torch.isfinite(score)).sum())} of {score.numel()} scores are not finite")


def _masked_lowest(scores: Mapping[str, Tensor], held: Mapping[str, Tensor], overwrite: bool) -> dict[str, Tensor]:
    """Scores in float32, those of layers with a mask free to change: what is masked is lower than all else."""
    found = {name: score.float() for name, score in scores.items()}
    if held:
        # Twice as far below the lowest: a block that is masked in part, as after a cut, goes early, too.
        below = min([0.0, *(float(score.amin()) for score in found.values())]) * 2.0 - 1.0
        fill = Tensor.masked_fill_ if overwrite else Tensor.masked_fill
        found |= {name: fill(found[name], ~held[name], below) for name in found.keys() & held.keys()}
    return found


def _units(form: Pattern, score: Tensor, reduce: str, held: Tensor | None) -> Tensor:
    units = form.units(score, reduce)
    # Only -inf is below all: the sum of a wide unit may be lower than that of a small one that is masked.
    return units if held is None else units.masked_fill_(form.gone(held), -torch.inf)


def _keep_by_layer(
    units: Mapping[str, Tensor], shares: Mapping[str, float], bounds: tuple[float, float]
) -> dict[str, Tensor]:
    least, most = bounds
    return {name: _keep(own, round(len(own) * min(max(shares[name], least), most))) for name, own in units.items()}


def _keep(units: Tensor, count: int) -> Tensor:
    """True for all but the ``count`` lowest; of equal ones the first go."""
    return keep_highest([units], count)[0]
