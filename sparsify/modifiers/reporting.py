"""A modifier that only looks: how sparse and how quantized the model is while it trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import PrivateAttr

from sparsify.modifiers.base import Modifier, Run
from sparsify.modifiers.registry import register
from sparsify.quantization.layers import quantizers
from sparsify.select import prunable_parameters

log = logging.getLogger(__name__)


@register("SparsificationLoggingModifier")
class SparsificationLoggingModifier(Modifier):
    """Logs the sparsity of each prunable weight and how many quantizers act, every ``update_frequency`` epochs.

    The figures stand in the run's values, which the Trainer sends to its loggers: ``layer_sparsity/NAME`` for each
    weight of a Linear or Conv module, ``prunable_sparsity`` for all of them together, and ``active_quantizers``.
    """

    update_frequency: float = 1.0

    _found: dict[str, float] = PrivateAttr(default_factory=dict)

    def values(self, epoch: float) -> dict[str, float]:
        """What the last look found."""
        return dict(self._found)

    def on_update(self, run: Run) -> None:
        """Look."""
        weights = prunable_parameters(run.model)
        zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
        total = sum(weight.numel() for weight in weights.values())
        active = sum(fq.enabled for fq in quantizers(run.model).values())
        self._found = {
            f"layer_sparsity/{name}": zeros[name] / max(weight.numel(), 1) for name, weight in weights.items()
        }
        self._found["prunable_sparsity"] = sum(zeros.values()) / max(total, 1)
        self._found["active_quantizers"] = float(active)
        log.info(
            "epoch %.2f: %.2f%% of %d prunable weights are zero, %d quantizers act",
            run.clock.epoch,
            100 * self._found["prunable_sparsity"],
            total,
            active,
        )

    def on_end(self, run: Run) -> None:
        """Say nothing more."""
        self._found = {}

    def state_dict(self) -> dict[str, Any]:
        """What the last look found: a resumed run goes on logging it."""
        return {"found": dict(self._found)}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take it back."""
        self._found = dict(state["found"])
