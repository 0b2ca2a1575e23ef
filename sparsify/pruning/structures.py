"""Which parts of a model can be removed as a whole: attention heads, hidden neurons, filters, and all that hangs on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from torch import nn

from sparsify.errors import InputError
from sparsify.pruning.chains import chain_structures
from sparsify.pruning.families import FAMILIES, family_structures
from sparsify.pruning.slots import KINDS, Kind, Slot, Structure


def find_structures(model: nn.Module, kinds: Collection[Kind] = KINDS) -> list[Structure]:
    """Structures of ``model``, in the order of its modules; none that shares a weight with another layer.

    Transformers of the known families give their heads and the neurons of their feed-forward layers. Any other model
    that ``torch.fx`` can trace, whole or in parts, gives hidden neurons (Linear to Linear) and filters (convolution to
    convolution or Linear).

    Args:
        model: Not wrapped; on any device, also ``meta``.
        kinds: Which to look for: ``heads``, ``neurons``, ``filters``.
    """
    found = _once(model, family_structures(model) or chain_structures(model))
    shared = _shared_parameters(model)
    return [s for s in found if s.kind in kinds and not any(id(p) in shared for _, p, _ in unit_parameters(model, s))]


def require_structures(model: nn.Module, kinds: Collection[Kind] = KINDS) -> list[Structure]:
    """As ``find_structures``.

    Raises:
        InputError: There are none: says what is known.
    """
    found = find_structures(model, kinds)
    if found:
        return found
    raise InputError(
        f"{type(model).__name__} has no {' or '.join(kinds)} that can be removed as a whole. Known are the heads and "
        f"feed-forward neurons of {', '.join(FAMILIES)}, and layers that follow each other (Linear or convolution, "
        "activation, Linear or convolution) in models that torch.fx can trace"
    )


def unit_parameters(model: nn.Module, structure: Structure) -> Iterator[tuple[Slot, nn.Parameter, str]]:
    """Each parameter that holds a part of every unit: its slot, the parameter, its name.

    A bias lies along the rows; columns have none.
    """
    for slot in structure.slots:
        module = model.get_submodule(slot.module)
        for name in ("weight", "bias") if slot.axis == 0 else ("weight",):
            parameter = getattr(module, name, None)
            if isinstance(parameter, nn.Parameter):
                yield slot, parameter, f"{slot.module}.{name}" if slot.module else name


def merge(structures: Sequence[Structure]) -> Structure:
    """One structure whose units are those of several together: layers that must keep the same units.

    Raises:
        InputError: They have different numbers of units.
    """
    first = structures[0]
    counts = {s.name: s.units for s in structures}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"layers of one group must have equally many units: {shown}")
    return replace(
        first,
        writers=tuple(slot for s in structures for slot in s.writers),
        readers=tuple(slot for s in structures for slot in s.readers),
        counts=tuple(count for s in structures for count in s.counts),
        source=None,
    )


def _once(model: nn.Module, found: Sequence[Structure]) -> list[Structure]:
    """Without those whose layers stand in other places too, with other neighbours; of the same layers the first."""
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    kept: dict[frozenset[int], Structure] = {}
    for structure in found:
        layers = [id(model.get_submodule(slot.module)) for slot in structure.slots]
        if len({places[layer] for layer in layers}) == 1:
            kept.setdefault(frozenset(layers), structure)
    return list(kept.values())


def _shared_parameters(model: nn.Module) -> set[int]:
    seen: set[int] = set()
    twice: set[int] = set()
    for _, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            (twice if id(parameter) in seen else seen).add(id(parameter))
    return twice
