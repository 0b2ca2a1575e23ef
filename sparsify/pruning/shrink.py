"""Remove dead heads, neurons and filters for real: smaller matrices, the same output, plain modules."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparsify.errors import InputError, StateError
from sparsify.pruning.resize import Cuts, check_slot, cut_slot
from sparsify.pruning.slots import KINDS, Kind, Structure
from sparsify.pruning.structures import find_structures, require_structures
from sparsify.pruning.units import dead_units
from sparsify.pruning.widths import local_name, write_widths

logger = logging.getLogger(__name__)


@dataclass
class Shrinkage:
    """What was removed.

    Attributes:
        kept: By structure that lost units: indices of those that stay (int64, rising).
        widths: By structure that lost units: how many it had and how many it has.
        parameters: Parameters of the model before and after.
        cuts: By parameter, what was cut from it.
    """

    parameters: tuple[int, int] = (0, 0)
    kept: dict[str, Tensor] = field(default_factory=dict)
    widths: dict[str, tuple[int, int]] = field(default_factory=dict)
    cuts: Cuts = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def __str__(self) -> str:
        if not self:
            return "nothing was removed: no head, neuron or filter is dead"
        before, after = self.parameters
        lines = [f"{name}: {was} -> {now}" for name, (was, now) in self.widths.items()]
        return "\n".join([*lines, f"parameters: {before:,} -> {after:,} ({after / before:.1%})"])


def shrink(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    kinds: Collection[Kind] = KINDS,
    multiple_of: int = 1,
    strict: bool = True,
) -> Shrinkage:
    """Remove every dead unit of ``model``, in place; its output stays the same.

    A unit is dead when all columns that read it are zero, or when it is zero for every input. Each layer keeps at least
    one. Parameters stay the same objects. The new widths are written to the model's config, if it has one, so that
    ``load_model`` restores the shape.

    Args:
        model: Not wrapped, not sharded.
        optimizer: Its state is cut along with the weights.
        kinds: What may go: ``heads``, ``neurons``, ``filters``.
        multiple_of: Neurons and filters stay in such a number (some dead ones with them): 8 or 32 suit matrix kernels.
        strict: Whether a model without anything that could ever be removed is an error.

    Returns:
        What was removed; empty if nothing was dead.

    Raises:
        InputError: The model is of no known kind, is sharded, or the optimizer's state cannot be cut.
    """
    if multiple_of < 1:
        raise InputError(f"multiple_of must be at least 1, got {multiple_of}")
    structures = require_structures(model, kinds) if strict else find_structures(model, kinds)
    kept = {}
    for structure in structures:
        stays = _staying(dead_units(model, structure), 1 if structure.kind == "heads" else multiple_of)
        if len(stays) < structure.units:
            kept[structure] = stays
    return _cut(model, kept, optimizer, record=True)


def widths_of(model: nn.Module) -> dict[str, int]:
    """How many units each structure of ``model`` has, by its name inside the base model."""
    return {local_name(model, s.name): s.units for s in find_structures(model)}


def apply_widths(model: nn.Module, widths: Mapping[str, int], *, record: bool = True) -> Shrinkage:
    """Give ``model`` recorded widths, before the weights that belong to them are loaded; which units stay is of no meaning.

    Args:
        model: Of the shape that its config gives, or already of these widths.
        widths: As ``widths_of`` gave; structures that are not named keep theirs.
        record: Whether to write the widths to the model's config.

    Raises:
        StateError: A structure is not there, or is narrower already.
    """
    found = {local_name(model, s.name): s for s in find_structures(model)}
    kept = {}
    for name, width in widths.items():
        structure = found.get(name)
        if structure is None or not 0 < width <= structure.units:
            has = "has no such layer" if structure is None else f"has {structure.units} there"
            raise StateError(f"recorded is a width of {width} for {name}, but this {type(model).__name__} {has}")
        if width < structure.units:
            kept[structure] = torch.arange(width)
    return _cut(model, kept, None, record)


def _staying(dead: Tensor, multiple_of: int) -> Tensor:
    """Indices of the units to keep: the live ones, and the first dead ones up to a multiple."""
    live = int((~dead).sum())
    count = min(max(-(-live // multiple_of) * multiple_of, 1), len(dead))
    first = dead.to(torch.int8).argsort(stable=True)[:count]
    return first.sort().values


def _cut(
    model: nn.Module, kept: Mapping[Structure, Tensor], optimizer: torch.optim.Optimizer | None, record: bool
) -> Shrinkage:
    before = _count(model)
    done = Shrinkage()
    for slot in (slot for structure in kept for slot in structure.slots):
        check_slot(model, slot, optimizer)
    for structure, units in kept.items():
        for slot in structure.slots:
            cut_slot(model, slot, units, optimizer, done.cuts)
        for count in structure.counts:
            setattr(model.get_submodule(count.module), count.attribute, len(units) * count.size)
        done.kept[structure.name] = units
        done.widths[structure.name] = (structure.units, len(units))
    done.parameters = (before, _count(model))
    if done and record:
        write_widths(model)
    return done


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
