"""The base of modifiers that are not built yet, and what several of them say about fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from torch import nn

from sparsify.errors import RecipeError
from sparsify.modifiers.base import Modifier, Run

Count = Annotated[int, Field(gt=0)]
"""A whole number above 0."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number of at least 0."""


def _structure(value: str) -> str:
    found = re.fullmatch(r"(\d+):(\d+)", value)
    if not found or not 0 <= int(found[1]) <= int(found[2]) or (int(found[1]) == 0) != (int(found[2]) == 0):
        raise ValueError("it is N:M with N at most M, or 0:0 for unstructured")
    return value


MaskStructure = Annotated[str, AfterValidator(_structure)]
"""``N:M``, or ``0:0`` for unstructured."""


# Not a model of its own: pydantic would let its fields, Modifier's, go before those of the class it is mixed into.
if TYPE_CHECKING:
    _Mixin = Modifier
else:
    _Mixin = object


class PendingModifier(_Mixin):
    """A modifier that validates and is planned, and that no run carries out yet.

    It comes first among the bases of its class, so that nothing of the others acts.
    """

    available: ClassVar[bool] = False

    @property
    def unavailable(self) -> str:
        """Its name."""
        return type(self).__name__

    def _refuse(self) -> None:
        raise RecipeError(self.problem(f"not available yet: {self.unavailable}", self.instead))

    def on_structure(self, model: nn.Module) -> None:
        """Refuse, where the model would have another structure.

        Raises:
            RecipeError: Names the modifier.
        """
        if self.structural:
            self._refuse()

    def on_attach(self, run: Run) -> None:
        """Refuse.

        Raises:
            RecipeError: Names the modifier.
        """
        self._refuse()


def counts_by_sparsity(value: object) -> int | dict[float, int]:
    """A count, or counts from each sparsity on: ``{0.0: 256, 0.5: 512}``.

    Raises:
        ValueError: It is neither, or says nothing of sparsity 0.
    """
    if _is_count(value):
        return value  # type: ignore[return-value]
    if not isinstance(value, Mapping) or not all(map(_is_count, value.values())):
        raise ValueError("a whole number above 0, or a mapping of sparsities to such numbers")
    counts: dict[float, Any] = {_sparsity(key): count for key, count in value.items()}
    if 0.0 not in counts:
        raise ValueError("the mapping must say how many from sparsity 0.0 on")
    return counts


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _sparsity(key: object) -> float:
    try:
        number = float(key) if isinstance(key, str | int | float) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise ValueError(f"{key!r} is no sparsity from 0 to below 1")
    return number
