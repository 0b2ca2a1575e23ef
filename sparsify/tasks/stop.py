"""Ctrl-C during training: finish the step, save a checkpoint, stop."""

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
        self.asked = False

    def ask(self, *_: Any) -> None:
        """Signal handler: the first call asks, a second one stops at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.info("stopping: the step is finished and a checkpoint saved (Ctrl-C again stops at once)")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save what a resume needs, then stop."""
        if self.asked:
            control.should_save = control.should_training_stop = True


@contextlib.contextmanager
def stops_cleanly(trainer: Trainer) -> Iterator[StopAtStep]:
    """While inside, Ctrl-C lets ``trainer`` save a checkpoint and stop; says so in ``asked``."""
    callback = StopAtStep()
    trainer.add_callback(callback)
    if threading.current_thread() is not threading.main_thread():
        yield callback  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGINT, callback.ask)
    try:
        yield callback
    finally:
        signal.signal(signal.SIGINT, before)
        trainer.remove_callback(callback)
