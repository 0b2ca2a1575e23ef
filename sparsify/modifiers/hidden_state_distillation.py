"""Distillation of the encoder's last hidden state, with the classifier reused from the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from sparsify.distillation.features import squared_error
from sparsify.errors import RecipeError
from sparsify.modifiers.base import Run
from sparsify.modifiers.feature_distillation import FeatureDistillation, Pairs, paired
from sparsify.modifiers.registry import register
from sparsify.modifiers.teaching import share_of_step


@register("HiddenStateDistillationModifier")
class HiddenStateDistillationModifier(FeatureDistillation):
    """Trains on ``task_weight * task + gain * MSE`` between the last hidden states of student and teacher.

    Compared is what the encoder of a transformers model gives, or ``layer``, of one width in both. Padding (``attention_mask`` 0) does not
    count. With ``task_weight`` 0 the head gets no gradient and keeps its weights, so it should be a trained one, such as
    the teacher's own (Chen et al. 2022, "Knowledge Distillation with the Reused Teacher Classifier").
    """

    gain: float = Field(1.0, ge=0, allow_inf_nan=False, description="weight of the term in the loss, at least 0")
    task_weight: float = Field(1.0, ge=0, allow_inf_nan=False, description="weight of the task's own loss, at least 0")

    layer: str | None = Field(None, description="module whose output is compared; left out: the encoder")

    def values(self, epoch: float) -> dict[str, float]:
        """The gain, while it acts."""
        return {"distillation_gain": self.gain} if self.active(epoch) else {}

    def pairs(self, student: nn.Module, teacher: nn.Module) -> Pairs:
        """The two encoders, or the two layers of that name.

        Raises:
            RecipeError: There is none.
        """
        if self.layer is not None:
            return paired(student, teacher, [self.layer], [self.layer])
        return [(_encoder(student, "student"), _encoder(teacher, "teacher"))]

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """Mean squared error over the positions that count."""
        return squared_error(student, teacher, mask)

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The hidden states' error, and the task's loss where it has a weight.

        Raises:
            InputError: The encoders' widths differ, or one took no part in the forward.
        """
        if self._teacher is None or self.gain == 0:
            return loss
        term = self.gain * self.distances(inputs)[0].to(loss.device) * share_of_step(run, inputs)
        # A task loss times 0 would still let weight decay and momentum move the head.
        return term + self.task_weight * loss if self.task_weight else term


def _encoder(model: nn.Module, whose: str) -> tuple[str, nn.Module]:
    name = getattr(model, "base_model_prefix", "")
    body = getattr(model, name, None) if name else None
    if not isinstance(body, nn.Module):
        raise RecipeError(
            f"the {whose} is a {type(model).__name__} without a part that is its encoder (base_model_prefix): name "
            "the module to compare in layer"
        )
    return name, body
