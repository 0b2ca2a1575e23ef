"""What a removable structure is: units, and where each of them lies in the model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

Kind = Literal["heads", "neurons", "filters"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where units lie in one module: unit ``u`` has indices ``u * size`` to ``(u + 1) * size`` along ``axis``.

    Attributes:
        module: Its name in the model.
        axis: 0: rows of the weight, with their biases; 1: columns.
        size: How many of them one unit has.
    """

    module: str
    axis: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Count:
    """An attribute of a module that says how much there is: ``units * size``."""

    module: str
    attribute: str
    size: int = 1


@dataclass(frozen=True, slots=True)
class Structure:
    """Units of one layer, each of which can be removed with all that belongs to it.

    Attributes:
        name: Name of the module that it is found by.
        kind: ``heads``, ``neurons`` or ``filters``.
        units: How many there are.
        writers: Rows that compute the units (and batch norms on the way).
        readers: Columns of the layers that take them in.
        source: Rows that make a unit zero for every input if they and their biases are zero; None if none do.
        counts: Attributes to set when units go.
    """

    name: str
    kind: Kind
    units: int
    writers: tuple[Slot, ...]
    readers: tuple[Slot, ...]
    source: Slot | None = None
    counts: tuple[Count, ...] = ()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Writers, then readers."""
        return self.writers + self.readers


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a layer that is known to have one.

    Raises:
        TypeError: It has none.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__} has no weight")
    return weight
