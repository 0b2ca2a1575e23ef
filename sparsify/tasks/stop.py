"""Ctrl-C or SIGTERM during training: finish the step, save a checkpoint, stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

from transformers import Trainer, TrainerCallback

logger = logging.getLogger(__name__)


class StopAtStep(TrainerCallback):
    """Asks the Trainer to save and stop at the end of the step in which an interrupt came."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def ask(self, number: int, frame: Any = None) -> None:
        """Signal handler: the first call asks, Ctrl-C after it stops at once."""
        if self.asked:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return  # schedulers send SIGTERM to a job and to its processes: twice the same wish
        self.signal = number
        logger.info("stopping: the step is finished and a checkpoint saved (Ctrl-C stops at once)")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save what a resume needs, then stop."""
        if self.asked:
            control.should_save = control.should_training_stop = True


@contextlib.contextmanager
def stops_cleanly(trainer: Trainer) -> Iterator[StopAtStep]:
    """While inside, Ctrl-C and SIGTERM let ``trainer`` save a checkpoint and stop; says so in ``asked``."""
    callback = StopAtStep()
    trainer.add_callback(callback)
    if threading.current_thread() is not threading.main_thread():
        yield callback  # signals belong to the main thread
        return
    before = {number: signal.signal(number, callback.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield callback
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        trainer.remove_callback(callback)
