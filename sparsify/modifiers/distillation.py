"""Distillation: the student learns from a teacher's outputs beside the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from sparsify.distillation.losses import kl_over_counted, matching_keys, named_outputs
from sparsify.distillation.teacher import Teacher, as_teacher
from sparsify.errors import StateError
from sparsify.modifiers.base import Modifier, Run
from sparsify.modifiers.registry import register


@register("DistillationModifier")
class DistillationModifier(Modifier):
    """Trains on ``(1 - hardness) * task + hardness * KD``.

    KD is the mean, over the outputs, of ``KL(softmax(teacher / T) || softmax(student / T)) * T^2`` over the positions
    that count (see ``kl_over_counted``), normalized as the trainer normalizes its loss: by the labelled items of the
    whole step where it counts them, else by those of the micro-batch. Without a teacher (``disable``) the loss stays
    what it was.
    """

    kind = "distillation"

    hardness: float = Field(0.5, ge=0, le=1, description="share of the teacher in the loss, 0 to 1")
    temperature: float = Field(2.0, gt=0, allow_inf_nan=False, description="softmax temperature, above 0")
    distill_output_keys: list[str] | None = Field(None, description="names of outputs; left out: all logits")
    teacher_input_keys: list[str] | None = Field(None, description="names of inputs; left out: all it accepts")

    _teacher: Teacher | None = PrivateAttr(default=None)

    def values(self, epoch: float) -> dict[str, float]:
        """The hardness, while it acts."""
        active = self.start <= epoch and (self.end < 0 or epoch < self.end)
        return {"distillation_hardness": self.hardness} if active else {}

    def on_attach(self, run: Run) -> None:
        """Take the run's teacher.

        Raises:
            InputError: Its labels or its vocabulary are not the student's.
        """
        self._teacher = None if run.teacher is None else as_teacher(run.teacher, run.model, self.teacher_input_keys)

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The mixed loss.

        Raises:
            InputError: Student and teacher do not give the same kind of outputs.
        """
        if self._teacher is None or self.hardness == 0:
            return loss
        ours = named_outputs(outputs)
        theirs = self._teacher(**inputs) if isinstance(inputs, Mapping) else self._teacher(inputs)
        keys = matching_keys(ours, theirs, self.distill_output_keys)
        batch = inputs if isinstance(inputs, Mapping) else {}
        terms = [self._term(run, key, ours[key], theirs[key], batch) for key in keys]
        return (1.0 - self.hardness) * loss + self.hardness * torch.stack(terms).mean().to(loss.device)

    def _term(self, run: Run, key: str, ours: Tensor, theirs: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        # Outside autocast: the sum over positions must not be rounded to bf16.
        with torch.autocast(ours.device.type, enabled=False):
            total, count = kl_over_counted(key, ours, theirs.to(ours.device), self.temperature, inputs)
            if run.loss_items is None:
                return total / count.clamp(min=1)
            items = run.loss_items
            return total / (items.to(total.device) if isinstance(items, Tensor) else items) * run.loss_scale

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
