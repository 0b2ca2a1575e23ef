"""Distillation of what chosen layers give, compared in one of several ways."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, PlainValidator, model_validator
from torch import Tensor, nn

from sparsify.distillation.features import COMPARISON_ARGS, TRANSFORM_ARGS, compare, transformed
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.feature_distillation import FeatureDistillation, Pairs, layers_of, paired
from sparsify.modifiers.registry import register
from sparsify.modifiers.teaching import share_of_step


def _targets(value: object) -> list[str | list[str]]:
    targets = [value] if isinstance(value, str) else value
    if not isinstance(targets, list | tuple) or not targets or not all(map(_is_target, targets)):
        raise ValueError("a layer's name or pattern, or a list of such, or of [student's layer, teacher's layer]")
    return [target if isinstance(target, str) else list(target) for target in targets]


def _is_target(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(isinstance(name, str) for name in value)
    return isinstance(value, str)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Mapping) else value


Targets = Annotated[list[Any], PlainValidator(_targets, json_schema_input_type=str | list[Any])]
Transforms = Annotated[
    list[Literal["identity", "softmax", "log_softmax", "normalize"]],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]
TransformArgs = Annotated[
    list[dict[str, Any]], BeforeValidator(_listed, json_schema_input_type=dict[str, Any] | list[dict[str, Any]])
]
Transform = Literal["identity", "softmax", "log_softmax", "normalize"]
Comparison = Literal[
    "kl_divergence",
    "l1_distance",
    "l2_distance",
    "inner_product",
    "cosine_similarity",
    "cross_entropy",
    "square_head",
]


@register("OutputDistillationModifier")
class OutputDistillationModifier(FeatureDistillation):
    """Trains on ``orig_scale * task + distill_scale * mean over layers of comparison(student, teacher)``.

    A target that names several layers takes them in the order of the model. ``kl_divergence`` and ``cross_entropy``
    compare distributions: the softmax of what the layers give, whether ``transforms`` names it or not. ``inner_product`` and
    ``cosine_similarity`` are turned so that training brings the layers together. ``square_head`` is the mean squared
    error over the teacher's mean square (Kurtic et al. 2023, arXiv:2310.06927). Padding does not count.
    """

    paper: ClassVar[str] = (
        "Kurtic et al. 2023, Sparse Fine-tuning for Inference Acceleration of Large Language Models, arXiv:2310.06927"
    )

    targets: Targets = Field(description="layers: a name, a pattern, or a list of such or of [student's, teacher's]")
    projection: Literal["linear"] | None = Field(None, description="linear: learn a map where widths differ")
    projection_args: dict[str, Any] | None = Field(None, max_length=0, description="linear has no arguments")
    transforms: Transforms = Field(default=["identity"], description="identity, softmax, log_softmax, normalize")
    transforms_args: TransformArgs = Field(default=[], description="their arguments, one mapping for each transform")
    comparison: Comparison = Field("kl_divergence", description="how two layers are compared")
    comparison_args: dict[str, Any] | None = Field(None, description="its arguments: {temperature: 2.0}")
    orig_scale: float = Field(1.0, ge=0, allow_inf_nan=False, description="weight of the task's loss, at least 0")
    distill_scale: float = Field(1.0, ge=0, allow_inf_nan=False, description="weight of the comparison, at least 0")
    offload_layer_output: Flag = Field(False, description="keep the teacher's layers in the CPU's memory")

    @model_validator(mode="after")
    def _arguments_fit(self) -> OutputDistillationModifier:
        if self.transforms_args and len(self.transforms_args) != len(self.transforms):
            raise ValueError(
                f"transforms_args has {len(self.transforms_args)} entries for {len(self.transforms)} transforms"
            )
        for name, given in zip(self.transforms, self.transforms_args, strict=False):
            _check_arguments(name, given, TRANSFORM_ARGS[name])
        _check_arguments(self.comparison, self.comparison_args or {}, COMPARISON_ARGS.get(self.comparison, ()))
        return self

    @property
    def projects(self) -> bool:
        """As ``projection`` says."""
        return self.projection is not None

    @property
    def offloads(self) -> bool:
        """As ``offload_layer_output`` says."""
        return self.offload_layer_output

    def values(self, epoch: float) -> dict[str, float]:
        """The scale of the comparison, while it acts."""
        return {"distillation_scale": self.distill_scale} if self.active(epoch) else {}

    def pairs(self, student: nn.Module, teacher: nn.Module) -> Pairs:
        """Target by target."""
        found: Pairs = []
        for target in self.targets:
            ours, theirs = (target, target) if isinstance(target, str) else target
            found += paired(student, teacher, [ours], [theirs])
        return found

    def students_layers(self, student: nn.Module) -> list[str]:
        """Target by target."""
        names = [target if isinstance(target, str) else target[0] for target in self.targets]
        return [name for name, _ in layers_of(student, names, "student")]

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """The comparison, after the transforms."""
        given = self.transforms_args or [{} for _ in self.transforms]
        names: list[str] = list(self.transforms)
        if self.comparison in COMPARISON_ARGS:
            names = ["log_softmax" if name == "softmax" else name for name in names]  # they take the softmax of logits
        ours, theirs = (transformed(values, names, given) for values in (student, teacher))
        return compare(self.comparison, ours, theirs, mask, self.comparison_args)

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The two losses, each by its scale.

        Raises:
            InputError: Layers differ in shape, or took no part in the forward.
        """
        if self._teacher is None:
            return loss
        term = torch.stack([d.to(loss.device) for d in self.distances(inputs)]).mean()
        return self.orig_scale * loss + self.distill_scale * term * share_of_step(run, inputs)


def _check_arguments(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for argument, value in given.items():
        if argument not in known:
            near = difflib.get_close_matches(argument, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'no arguments'}"
            raise ValueError(f"{name} has no argument {argument!r}: {hint}")
        wanted = bool if argument in ("mean", "std") else (int, float)
        if not isinstance(value, wanted) or (wanted is not bool and (isinstance(value, bool) or value <= 0)):
            raise ValueError(f"{name}: {argument} is {'true or false' if wanted is bool else 'above 0'}, got {value!r}")
