"""How far training is, a line at a time, where there is no terminal for a bar."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from transformers import TrainerCallback

logger = logging.getLogger(__name__)

LINES = 0.05
"""Share of the steps after which such a line comes, unless ``--logging_steps`` says otherwise."""
_RECIPE = "recipe/"


class ProgressLines(TrainerCallback):
    """Says step, loss, learning rate, what the recipe does, and the time left, whenever the Trainer logs."""

    def __init__(self) -> None:
        self._begun = (0.0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when and where the run begins; a resumed one does so in the middle."""
        self._begun = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Say it."""
        if not logs or not state.is_world_process_zero:
            return
        if "loss" in logs:
            logger.info(", ".join([*_training(state, logs), self._left(state)]))
        elif state.global_step < state.max_steps and any(name.startswith("eval_") for name in logs):
            said = _evaluated(state, logs)
            if said:
                logger.info(", ".join(said))

    def _left(self, state: Any) -> str:
        begun, first = self._begun
        steps = state.global_step - first
        left = (time.monotonic() - begun) / steps * (state.max_steps - state.global_step) if steps > 0 else 0.0
        return f"{timedelta(seconds=round(left))} left"


def _training(state: Any, logs: Mapping[str, Any]) -> list[str]:
    step, steps = state.global_step, state.max_steps
    shown = [f"step {step} of {steps} ({step / steps:.0%})", f"loss {_number(logs['loss'])}"]
    if "learning_rate" in logs:
        shown.append(f"learning rate {_number(logs['learning_rate'])}")
    values = {name.removeprefix(_RECIPE): value for name, value in logs.items() if name.startswith(_RECIPE)}
    return shown + [f"{name} {_number(value)}" for name, value in values.items() if "/" not in name and name != "epoch"]


def _evaluated(state: Any, logs: Mapping[str, Any]) -> list[str]:
    found = {name.removeprefix("eval_"): value for name, value in logs.items() if name.startswith("eval_")}
    speed = ("runtime", "samples_per_second", "steps_per_second")
    shown = [f"{name} {_number(value)}" for name, value in found.items() if name not in speed]
    return [f"epoch {_number(state.epoch)} on validation data: {shown[0]}", *shown[1:]] if shown else []


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
