"""How long a run is, as flags that stand for a recipe see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Length:
    """How long the run is: in epochs, or ``None`` where it is counted in steps."""

    epochs: float | None

    @property
    def whole(self) -> bool:
        """Whether it is a whole number of epochs."""
        return self.epochs is not None and float(self.epochs).is_integer()
