"""Which checkpoint may be called the best."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class BestAfter(TrainerCallback):
    """Forgets the best metric seen before an epoch, so that the best model is one from later on.

    Args:
        epoch: The last epoch whose evaluations do not count.
    """

    def __init__(self, epoch: float) -> None:
        self._epoch = epoch

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop what was best so far, while it is too early."""
        if state.epoch is not None and state.epoch <= self._epoch:
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None
