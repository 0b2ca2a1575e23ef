"""What distillation modifiers share: the run's teacher, its weights where it is the student's past, the loss's scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from sparsify.distillation.losses import IGNORED
from sparsify.distillation.teacher import Teacher, as_teacher
from sparsify.errors import SparsifyError, StateError
from sparsify.modifiers.base import Modifier, Run, reached


class TaughtModifier(Modifier):
    """Adds to the loss what a teacher says of the batch; without a teacher (``disable``) the loss stays as it is."""

    kind: ClassVar[str] = "distillation"

    _teacher: Teacher | None = PrivateAttr(default=None)

    @property
    def inputs_of_teacher(self) -> list[str] | None:
        """Names of the inputs that the teacher gets; None: all that it accepts."""
        return None

    @property
    def outputs_of_teacher(self) -> list[str] | None:
        """Names of the teacher's outputs that it compares; None: all logits."""
        return None

    def layers_of_teacher(self, student: nn.Module, teacher: nn.Module) -> dict[str, nn.Module]:
        """Layers of the teacher that it compares, by name."""
        return {}

    def active(self, epoch: float) -> bool:
        """Whether it acts at ``epoch``."""
        return reached(epoch, self.start) and (self.end < 0 or not reached(epoch, self.end))

    def on_attach(self, run: Run) -> None:
        """Take the run's teacher.

        Raises:
            InputError: Its labels or its vocabulary are not the student's.
        """
        self._teacher = None if run.teacher is None else as_teacher(run.teacher, run.model, self.inputs_of_teacher)

    def ask(self, inputs: Any) -> dict[str, Any]:
        """The teacher's outputs for a batch.

        Raises:
            SparsifyError: No teacher was taken.
        """
        if self._teacher is None:
            raise SparsifyError(f"{self.key} asks a teacher, and the run has none: attach with teacher=...")
        answers: dict[str, Any] = self._teacher(**inputs) if isinstance(inputs, Mapping) else self._teacher(inputs)
        return answers

    def on_detach(self, run: Run) -> None:
        """Let the teacher go."""
        self._teacher = None

    def state_dict(self) -> dict[str, Any]:
        """The teacher's weights where it is the student's own past, which nothing else remembers."""
        if self._teacher is None or not self._teacher.is_self:
            return {}
        return {"teacher": {k: v for k, v in self._teacher.model.state_dict().items() if isinstance(v, Tensor)}}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Give a self teacher back its weights.

        Raises:
            StateError: They do not fit the model.
        """
        if "teacher" not in state or self._teacher is None or not self._teacher.is_self:
            return
        try:
            self._teacher.model.load_state_dict(state["teacher"])
        except RuntimeError as error:
            raise StateError(f"{self.key}: the saved self teacher does not fit this model: {error}") from error


def share_of_step(run: Run, inputs: Any) -> Tensor | float:
    """What a mean over one micro-batch is multiplied by, so that those of a step add up as the trainer's loss does.

    Where the trainer divides by the labelled items of the whole step, a micro-batch counts by its share of them.
    """
    labels = inputs.get("labels") if isinstance(inputs, Mapping) else None
    if run.loss_items is None or not isinstance(labels, Tensor):
        return 1.0
    items = torch.as_tensor(run.loss_items, device=labels.device).clamp(min=1)
    return (labels != IGNORED).sum() / items * run.loss_scale
