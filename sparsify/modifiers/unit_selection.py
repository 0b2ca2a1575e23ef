"""Which structures a recipe's structured pruning means: by kind, by the weights it names, and in groups."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

from sparsify.errors import InputError, Problem, RecipeError
from sparsify.pruning.slots import Kind, Structure
from sparsify.pruning.structures import merge, require_structures, unit_parameters
from sparsify.select import TOKENS, select_parameters


@dataclass(frozen=True)
class UnitSelection:
    """What a recipe selects.

    Attributes:
        kinds: Kinds of units.
        axes: On which side of a unit a named weight must lie: 0 its rows are units, 1 its columns are.
        params: Selectors; none, or a token: all units of the model.
        groups: Names of weights whose units stay or go together.
    """

    kinds: Collection[Kind]
    axes: Collection[int] = (0, 1)
    params: Sequence[str] = ()
    groups: Sequence[Sequence[str]] = ()

    def find(self, model: nn.Module) -> list[Structure]:
        """Structures of ``model``, those of a group as one.

        Raises:
            RecipeError: There are none, or a selector matches nothing or a weight whose units cannot be removed.
        """
        try:
            found = require_structures(model, self.kinds)
        except InputError as error:
            raise RecipeError(str(error)) from None
        if self.params and not any(selector.upper() in TOKENS for selector in self.params):
            found = self._named(model, found, self.params)
        for group in self.groups:
            found = self._joined(model, found, group)
        return found

    def _named(self, model: nn.Module, found: Sequence[Structure], selectors: Sequence[str]) -> list[Structure]:
        wanted = {name: id(p) for name, p in select_parameters(model, selectors).items() if p.ndim > 1}
        inside = {s.name: self._weights(model, s) for s in found}
        covered = {key for weights in inside.values() for key in weights}
        left = [name for name, key in wanted.items() if key not in covered]
        if left or not wanted:
            raise RecipeError(_cannot(left or list(selectors), list(self._names(model, found))))
        return [s for s in found if inside[s.name] & set(wanted.values())]

    def _weights(self, model: nn.Module, structure: Structure) -> set[int]:
        return {id(p) for slot, p, _ in unit_parameters(model, structure) if slot.axis in self.axes and p.ndim > 1}

    def _names(self, model: nn.Module, found: Sequence[Structure]) -> dict[str, None]:
        parts = [part for s in found for part in unit_parameters(model, s)]
        return {name: None for slot, p, name in parts if slot.axis in self.axes and p.ndim > 1}

    def _joined(self, model: nn.Module, found: list[Structure], group: Sequence[str]) -> list[Structure]:
        own = self._named(model, found, group)
        try:
            whole = merge(own)
        except InputError as error:
            raise RecipeError(f"param_groups: {error}") from None
        return [whole if s is own[0] else s for s in found if s is own[0] or s not in own]


def _cannot(names: Sequence[str], known: Sequence[str]) -> Problem:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    others = f" and {len(known) - 4} more" if len(known) > 4 else ""
    return Problem(
        f"units of {', '.join(names[:3])}{more} cannot be removed as a whole",
        hint=f"units of these can: {', '.join(known[:4])}{others}",
    )
