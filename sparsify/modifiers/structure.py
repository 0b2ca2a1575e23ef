"""Change the shape of the model during training: remove what structured pruning left dead."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr
from torch import nn

from sparsify.clock import Clock
from sparsify.distributed import several_ranks
from sparsify.modifiers.base import Flag, Modifier, Run
from sparsify.modifiers.registry import register
from sparsify.pruning.shrink import apply_widths, shrink, widths_of
from sparsify.pruning.slots import KINDS, Kind

logger = logging.getLogger(__name__)
_LAYERS: tuple[Kind, ...] = ("neurons", "filters")
_TYPES: dict[str, tuple[Kind, ...]] = {
    "all": KINDS,
    "heads": ("heads",),
    "neurons": ("neurons",),
    "filter": _LAYERS,
    "channel": _LAYERS,
}


@register("LayerThinningModifier")
class LayerThinningModifier(Modifier):
    """Removes dead heads, neurons and filters for real: the matrices get smaller, the output stays the same.

    At ``start_epoch``, at each of ``update_epochs``, and after the run's last step, all that ``StructuredPruningModifier``
    (or any other) left without effect goes; with ``start_epoch`` -1 only after the last step. The optimizer's state and
    other modifiers' masks are cut along. With several ranks it waits for the end of the run, since gradients are
    exchanged in buffers of the first sizes. What depends on what is found from the model, so
    ``param_group_dependency_map`` is accepted and not used.
    """

    order: ClassVar[int] = 55
    kind: ClassVar[str] = "structure"
    structural: ClassVar[bool] = True
    one_shot: ClassVar[bool] = True

    param_group_dependency_map: dict[str, list[str]] = Field(
        default_factory=dict, description="accepted, not needed: dependencies are found from the model"
    )
    structure_type: Literal["all", "heads", "neurons", "filter", "channel"] = Field(
        "all", description="what may go; filter and channel: filters of convolutions and neurons of Linears"
    )
    update_epochs: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=list, description="further epochs at which to remove what is dead by then"
    )
    multiple_of: Annotated[int, Field(ge=1)] = Field(1, description="neurons and filters stay in such a number")
    strict: Flag = Field(True, description="whether a model without anything that can be removed is an error")

    _removals: int = PrivateAttr(default=0)
    _widths: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def removals(self) -> int:
        """How often something was removed."""
        return self._removals

    def last_epoch(self) -> float:
        """The latest of its epochs."""
        return max([super().last_epoch(), *(self._offset + epoch for epoch in self.update_epochs)])

    def update_steps(self, clock: Clock) -> list[int]:
        """The steps of its epochs, and the run's end."""
        return sorted({clock.total_steps, *(min(clock.step_of(time), clock.total_steps) for time in self._times())})

    def _times(self) -> list[float]:
        begin = [self.start] if self.start_epoch >= 0 else []
        return begin + [self._offset + epoch for epoch in self.update_epochs]

    def to_come(self, clock: Clock, reached: int) -> str | None:
        """Removals at its epochs; the one at the run's end counts where there is no other."""
        times = self._times() or [clock.epoch_of(clock.total_steps)]
        later = [time for time in times if clock.step_of(time) > reached]
        return f"removes what is dead at epoch {min(later):g}" if later else None

    def values(self, epoch: float) -> dict[str, float]:
        """``removals``: how often something was removed."""
        return {"removals": float(self._removals)} if self._removals else {}

    def on_replay(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Give the model the widths of the saved run."""
        apply_widths(model, state.get("widths", {}))

    def on_attach(self, run: Run) -> None:
        """Forget what was removed from another model."""
        if self._widths and self._widths != widths_of(run.model):
            self._removals, self._widths = 0, {}

    def on_update(self, run: Run) -> None:
        """Remove what is dead."""
        if several_ranks() and run.clock.step < run.clock.total_steps:
            logger.warning("%s waits for the end of the run: there are several ranks", self.key)
            return
        change = shrink(run.model, run.optimizer, _TYPES[self.structure_type], self.multiple_of, self.strict)
        if change:
            self._removals += 1
            self._widths = widths_of(run.model)
            run.resized(change)
            before, after = change.parameters
            logger.info("%s: %d parameters are %d now, in %d layers", self.key, before, after, len(change.kept))

    def state_dict(self) -> dict[str, Any]:
        """Widths of the model, by structure, once it was changed."""
        return {"removals": self._removals, "widths": dict(self._widths)}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back what was removed; the model has had its shape since before its weights were loaded."""
        self._removals, self._widths = int(state["removals"]), dict(state["widths"])
