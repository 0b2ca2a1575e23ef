"""Which checkpoint may be called the best."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from sparsify.errors import InputError

_SPEED = re.compile(r"_(runtime|per_second|time)$")


class KnownMetric(TrainerCallback):
    """Refuses a ``--metric_for_best_model`` that evaluation does not give, at the first evaluation in training."""

    def __init__(self) -> None:
        self._training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From here on checkpoints are compared."""
        self._training = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """None is any more."""
        self._training = False

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Look for it.

        Raises:
            InputError: It is not there.
        """
        asked, there = args.metric_for_best_model, list(metrics or ())
        if not self._training or asked is None or f"eval_{asked.removeprefix('eval_')}" in there:
            return
        names = [name.removeprefix("eval_") for name in there if name.startswith("eval_") and not _SPEED.search(name)]
        near = difflib.get_close_matches(asked.removeprefix("eval_"), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--metric_for_best_model {asked}: evaluation gives {', '.join(sorted(names))}{hint}")


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
