"""Distillation: the student learns from a teacher's outputs beside the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from sparsify.distillation.losses import (
    at_predictions,
    distance_over_counted,
    matching_keys,
    named_outputs,
    predicts_next_token,
)
from sparsify.modifiers.base import Run
from sparsify.modifiers.registry import register
from sparsify.modifiers.teaching import TaughtModifier, share_of_step


@register("DistillationModifier")
class DistillationModifier(TaughtModifier):
    """Trains on ``(1 - hardness) * task + hardness * KD``.

    KD is the mean, over the outputs, of ``KL(softmax(teacher / T) || softmax(student / T)) * T^2``, or of another
    comparison, over the positions that count (see ``distance_over_counted``), normalized as the trainer
    normalizes its loss: by the labelled items of the whole step where it counts them, else by those of the micro-batch.
    Without a teacher (``disable``) the loss stays what it was.
    """

    paper: ClassVar[str] = (
        "Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531"
    )

    hardness: float = Field(0.5, ge=0, le=1, description="share of the teacher in the loss, 0 to 1")
    temperature: float = Field(2.0, gt=0, allow_inf_nan=False, description="softmax temperature, above 0")
    comparison: Literal["kl_divergence", "cross_entropy", "squared_error"] = Field(
        "kl_divergence", description="how logits are compared; squared_error knows no temperature"
    )
    distill_output_keys: list[str] | None = Field(None, description="names of outputs; left out or []: all logits")
    teacher_input_keys: list[str] | None = Field(None, description="names of inputs; left out or []: all it accepts")

    _causal: bool = PrivateAttr(default=False)

    @property
    def inputs_of_teacher(self) -> list[str] | None:
        """As ``teacher_input_keys`` says."""
        return self.teacher_input_keys or None

    @property
    def outputs_of_teacher(self) -> list[str] | None:
        """As ``distill_output_keys`` says."""
        return self.distill_output_keys or None

    def values(self, epoch: float) -> dict[str, float]:
        """The hardness, while it acts."""
        return {"distillation_hardness": self.hardness} if self.active(epoch) else {}

    def on_attach(self, run: Run) -> None:
        """Take the run's teacher; see the base class."""
        super().on_attach(run)
        self._causal = predicts_next_token(run.model)

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The mixed loss.

        Raises:
            InputError: Student and teacher do not give the same kind of outputs.
        """
        if self._teacher is None or self.hardness == 0:
            return loss
        ours = named_outputs(outputs)
        theirs = self.ask(inputs)
        keys = matching_keys(ours, theirs, self.outputs_of_teacher)
        batch = inputs if isinstance(inputs, Mapping) else {}
        batch = at_predictions(batch) if self._causal else batch
        terms = [self._term(run, key, ours[key], theirs[key], batch) for key in keys]
        return (1.0 - self.hardness) * loss + self.hardness * torch.stack(terms).mean().to(loss.device)

    def _term(self, run: Run, key: str, ours: Tensor, theirs: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        # Outside autocast: the sum over positions must not be rounded to bf16.
        with torch.autocast(ours.device.type, enabled=False):
            total, count = distance_over_counted(
                key, ours, theirs.to(ours.device), self.temperature, inputs, self.comparison
            )
            # Labels may be several to what is counted: a window of question answering has three, its outputs one row.
            return total / count.clamp(min=1) * share_of_step(run, inputs)
