"""Neural Compressor's distillation losses under names of their own, not built yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.pending.base import Amount, PendingModifier
from sparsify.modifiers.registry import register


class _Losses(PendingModifier, Modifier):
    kind: ClassVar[str] = "distillation"


@register("KnowledgeDistillationModifier")
class KnowledgeDistillationModifier(_Losses):
    """``w0 * hard + w1 * T^2 * soft``: a loss on the labels and one on the teacher's outputs."""

    paper: ClassVar[str] = (
        "Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531"
    )

    instead: ClassVar[str | None] = "DistillationModifier: hardness is the second weight, the loss is KL"

    temperature: float = Field(1.0, gt=0, allow_inf_nan=False, description="softmax temperature, above 0")
    loss_types: list[Literal["CE", "KL", "MSE"]] = Field(
        default=["CE", "CE"],
        min_length=2,
        max_length=2,
        description="losses on labels (CE or MSE) and on the teacher's outputs (CE, KL or MSE)",
    )
    loss_weights: list[Amount] = Field(default=[0.5, 0.5], min_length=2, max_length=2, description="their weights")

    @model_validator(mode="after")
    def _labels_have_a_loss(self) -> KnowledgeDistillationModifier:
        if self.loss_types[0] == "KL":
            raise ValueError("loss_types: the loss on labels is CE or MSE, got KL")
        return self


class _Layers(_Losses):
    loss_weights: list[Amount] | None = Field(None, description="one weight for each mapping; left out: equal")
    add_origin_loss: Flag = Field(False, description="train on the labels too")

    @model_validator(mode="after")
    def _one_for_each_mapping(self) -> _Layers:
        count = len(getattr(self, "layer_mappings", ()))
        for name in ("loss_types", "loss_weights"):
            given = getattr(self, name, None)
            if given is not None and len(given) != count:
                raise ValueError(f"{name} has {len(given)} entries, layer_mappings {count}: give one for each")
        return self


@register("IntermediateLayersKnowledgeDistillationModifier")
class IntermediateLayersKnowledgeDistillationModifier(_Layers):
    """A loss on pairs of layers, one of the student and one of the teacher."""

    paper: ClassVar[str] = (
        "Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding, "
        "https://arxiv.org/abs/1909.10351"
    )

    instead: ClassVar[str | None] = "OutputDistillationModifier compares pairs of layers"

    layer_mappings: list[list[str]] = Field(min_length=1, description="[student's layer, teacher's], or one name")
    loss_types: list[Literal["MSE", "KL", "L1"]] | None = Field(None, description="MSE, KL or L1 for each mapping")

    @model_validator(mode="after")
    def _pairs(self) -> IntermediateLayersKnowledgeDistillationModifier:
        if any(len(mapping) not in (1, 2) for mapping in self.layer_mappings):
            raise ValueError("layer_mappings: each is [layer] or [student's layer, teacher's layer]")
        return self


@register("SelfKnowledgeDistillationModifier")
class SelfKnowledgeDistillationModifier(_Layers):
    """Deep layers of the model teach its shallow ones."""

    paper: ClassVar[str] = (
        "Zhang et al. 2019, Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self Distillation, "
        "https://arxiv.org/abs/1905.08094"
    )

    example: ClassVar[Mapping[str, Any]] = {"layer_mappings": [[["bert.encoder.layer.1", "bert.encoder.layer.3"]]]}

    layer_mappings: list[list[list[str]]] = Field(min_length=1, description="lists of [shallow layer, deep layer]")
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False, description="softmax temperature, above 0")
    loss_types: list[Literal["CE", "KL", "L2"]] | None = Field(None, description="CE, KL or L2 for each mapping")
