"""Gradual pruning by scores that gradients take part in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sparsify.errors import SparsifyError
from sparsify.modifiers.base import Run
from sparsify.modifiers.pruning import GradualPruning
from sparsify.modifiers.registry import register


class ScoredPruning(GradualPruning):
    """Gradual pruning by a score that may need gradients: it gathers them from the first step of the run on.

    An update before any gradient was seen is left out; the last one then is an error, never a silent dense model.
    """

    early_gradients: ClassVar[bool] = True

    @property
    def needs_gradients(self) -> bool:
        """Whether the criterion is one of gradients."""
        return self._scores.needs_gradients

    def on_gradients(self, run: Run) -> None:
        """Add this step's gradients to the scores."""
        self._scores.observe(run.grad_scale)

    def on_update(self, run: Run) -> None:
        """Prune to the schedule's sparsity.

        Raises:
            SparsifyError: The last update has come, and no step has shown a gradient.
        """
        if self._scores.ready:
            super().on_update(run)
        elif self.schedule_epoch(run) >= self.end:
            raise SparsifyError(
                f"{self.key} scores by {self.criterion}, which needs gradients, and no training step came before its "
                "end: train, or prune by magnitude"
            )

    def on_end(self, run: Run) -> None:
        """Forget the scores, and drop the masks unless they are to stay."""
        super().on_end(run)
        self._scores.clear()

    def state_dict(self) -> dict[str, Any]:
        """Masks, first sparsities and scores."""
        return super().state_dict() | {"scores": self._scores.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back masks, first sparsities and scores."""
        super().load_state_dict(state, run)
        self._scores.load_state_dict(state["scores"])


@register("MovementPruningModifier")
class MovementPruningModifier(ScoredPruning):
    """Gradual movement pruning, per parameter: what moves towards zero goes (Sanh et al. 2020)."""

    paper: ClassVar[str] = (
        "Sanh, Wolf and Rush 2020, Movement Pruning: Adaptive Sparsity by Fine-Tuning, https://arxiv.org/abs/2005.07683"
    )

    @property
    def criterion(self) -> str:
        """Always movement."""
        return "movement"
