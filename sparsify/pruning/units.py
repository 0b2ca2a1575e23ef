"""Units of a structure (heads, neurons, filters): which are dead, how much each matters, which go, and their masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparsify.pruning.masks import Scope
from sparsify.pruning.order import on_one_device
from sparsify.pruning.slots import Slot, Structure, weight_of
from sparsify.pruning.structures import unit_parameters


@torch.no_grad()
def dead_units(model: nn.Module, structure: Structure) -> Tensor:
    """True for each unit that changes nothing: nobody reads it, or what is read is zero whatever the input.

    Returns:
        Bool [units].
    """
    unread = [~_any_nonzero(weight_of(model.get_submodule(s.module)), s) for s in structure.readers]
    dead = torch.stack(on_one_device(unread)).all(dim=0)
    if structure.source is not None:
        dead |= _silent(model.get_submodule(structure.source.module), structure.source).to(dead.device)
    return dead


def _silent(module: nn.Module, slot: Slot) -> Tensor:
    silent = ~_any_nonzero(weight_of(module), slot)
    if isinstance(module.bias, Tensor):
        silent &= ~_any_nonzero(module.bias, slot)
    return silent


def _any_nonzero(tensor: Tensor, slot: Slot) -> Tensor:
    return _by_unit(tensor != 0, slot).any(dim=1)


def _by_unit(tensor: Tensor, slot: Slot) -> Tensor:
    """[units, what each has of it]."""
    along = tensor.movedim(slot.axis, 0)
    return along.reshape(along.shape[0] // slot.size, -1)


@torch.no_grad()
def unit_scores(model: nn.Module, structure: Structure) -> Tensor:
    """How large each unit is: the root mean square of its weights in a matrix, averaged over the matrices.

    Within a layer it ranks as the L2 norm does; divided by size, it compares layers of different widths too.

    Returns:
        Float32 [units].
    """
    weights = [(slot, p) for slot, p, name in unit_parameters(model, structure) if p.ndim > 1]
    norms = [_by_unit(p.detach().float(), slot).square().mean(dim=1).sqrt() for slot, p in weights]
    return torch.stack(on_one_device(norms)).mean(dim=0)


@torch.no_grad()
def unit_gradients(model: nn.Module, structure: Structure) -> Tensor | None:
    """Size of the loss's derivative by a mask on each unit, for the batch whose gradients the weights hold.

    The derivative by the mask of head ``h`` at 1 (Michel et al. 2019, "Are Sixteen Heads Really Better than One?") is
    the sum of weight times gradient over the columns that read ``h``, so it needs no extra pass.

    Returns:
        Float32 [units], not negative; None where a weight has no gradient.
    """
    total: Tensor | None = None
    for slot in structure.readers:
        weight = weight_of(model.get_submodule(slot.module))
        if weight.grad is None:
            return None
        part = _by_unit(weight.detach().float() * weight.grad.float(), slot).sum(dim=1)
        total = part if total is None else total + part.to(total.device)
    return None if total is None else total.abs()


def keep_units(scores: Mapping[str, Tensor], going: Mapping[str, int], scope: Scope = "layer") -> dict[str, Tensor]:
    """Masks of the units that stay: the lowest scores go, of equal ones the first; each structure keeps at least one.

    Args:
        scores: By structure: a score for each unit, not negative.
        going: By structure: how many are to go. Over all structures only the total counts.
        scope: ``layer``: each loses its own number; ``global``: the lowest of all go.

    Returns:
        By structure, bool [units]: True where the unit stays.
    """
    if scope == "layer":
        return {name: _without_lowest(score, min(going[name], len(score) - 1)) for name, score in scores.items()}
    if not scores:
        return {}
    guarded = [score.index_fill(0, score.argmax(), torch.inf) for score in scores.values()]
    flat = torch.cat(on_one_device(guarded))
    kept = _without_lowest(flat, min(sum(going.values()), len(flat) - len(scores)))
    parts = torch.split(kept, [len(score) for score in scores.values()])
    return {name: part.to(score.device) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _without_lowest(scores: Tensor, count: int) -> Tensor:
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[scores.argsort(stable=True)[: max(count, 0)]] = False
    return kept


def weight_masks(model: nn.Module, structures: Mapping[Structure, Tensor]) -> dict[str, Tensor]:
    """Masks of the weights, biases and batch norms that hold the units, by parameter name, in its shape.

    Args:
        model: The model.
        structures: For each structure, True where the unit stays. A weight that two of them cut keeps what both keep.
    """
    masks: dict[str, Tensor] = {}
    for structure, kept in structures.items():
        for slot, parameter, name in unit_parameters(model, structure):
            shape = [1] * parameter.ndim
            shape[slot.axis] = -1
            along = kept.to(parameter.device).repeat_interleave(slot.size).view(shape)
            masks[name] = masks[name] & along if name in masks else along.expand(parameter.shape).clone()
    return masks
