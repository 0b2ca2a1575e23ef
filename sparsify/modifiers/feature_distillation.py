"""Distillation of what layers give, beside or in place of what the whole model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from sparsify.distillation.features import Tap, relative_error, squared_error
from sparsify.distillation.projections import Projections
from sparsify.distillation.teacher import layer_key
from sparsify.errors import InputError, Problem, RecipeError
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import Selectors
from sparsify.modifiers.registry import register
from sparsify.modifiers.teaching import TaughtModifier, share_of_step
from sparsify.select import clean_name, select_modules

Pairs = list[tuple[tuple[str, nn.Module], tuple[str, nn.Module]]]


class FeatureDistillation(TaughtModifier):
    """Compares layers of the student with layers of the teacher."""

    _tap: Tap | None = PrivateAttr(default=None)
    _stop: Callable[[], None] | None = PrivateAttr(default=None)
    _theirs: list[str] = PrivateAttr(default_factory=list)
    _names: list[str] = PrivateAttr(default_factory=list)
    _projections: Projections = PrivateAttr(default_factory=Projections)

    @property
    def outputs_of_teacher(self) -> list[str] | None:
        """None of the model itself."""
        return []

    def pairs(self, student: nn.Module, teacher: nn.Module) -> Pairs:
        """Layers to compare."""
        raise NotImplementedError

    def students_layers(self, student: nn.Module) -> list[str]:
        """Names of the student's layers among them."""
        raise NotImplementedError

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """How far one layer is from its teacher's, a scalar."""
        raise NotImplementedError

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters of the layers that are compared; see the base class."""
        layers = tuple(f"{name}." for name in self.students_layers(model))
        names = [clean_name(name) for name, _ in model.named_parameters()]
        return tuple(name for name in names if name.startswith(layers))

    @property
    def projects(self) -> bool:
        """Whether layers of different widths are mapped onto each other."""
        return False

    @property
    def offloads(self) -> bool:
        """Whether the teacher's layers are kept in the CPU's memory."""
        return False

    def on_attach(self, run: Run) -> None:
        """Take the run's teacher, and listen to the layers.

        Raises:
            InputError: Its labels or its vocabulary are not the student's.
            RecipeError: A name matches no layer, or student and teacher have another number of them.
        """
        super().on_attach(run)
        self._projections = Projections()
        if self._teacher is None:
            return
        pairs = self.pairs(run.model, self._teacher.model)
        self._names = [name for (name, _), _ in pairs]
        self._theirs = [layer_key(name) for _, (name, _) in pairs]
        ours = {f"{i} {name}": layer for i, ((name, layer), _) in enumerate(pairs)}
        self._tap = Tap(ours, gradients=True)
        self._stop = self._teacher.listen(dict(theirs for _, theirs in pairs), offload=self.offloads)

    def layers_of_teacher(self, student: nn.Module, teacher: nn.Module) -> dict[str, nn.Module]:
        """Those of the pairs."""
        return dict(theirs for _, theirs in self.pairs(student, teacher))

    def distances(self, inputs: Any) -> list[Tensor]:
        """Of each pair of layers, for a batch that the student has just seen."""
        answers = self.ask(inputs)
        mine = [] if self._tap is None else self._tap.take()
        other: list[Tensor] = [answers[key] for key in self._theirs]
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        mask = mask if isinstance(mask, Tensor) else None
        with torch.autocast(mine[0].device.type, enabled=False):  # sums over positions must not be rounded to bf16
            both = zip(mine, other, strict=True)
            return [self._distance(i, s.float(), t.to(s.device).float(), mask) for i, (s, t) in enumerate(both)]

    def _distance(self, index: int, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        if student.shape != teacher.shape:
            if not self.projects:
                raise InputError(
                    f"distillation: {self._names[index]} gives {list(student.shape)}, its teacher "
                    f"{list(teacher.shape)}: choose layers of one shape, or let the recipe project them"
                )
            student = self._projections(index, student, teacher)
        return self.distance(student, teacher, mask)

    def on_gradients(self, run: Run) -> None:
        """Let the projections learn, at the rate of the optimizer's first group."""
        self._projections.step(float(run.optimizer.param_groups[0]["lr"]))

    def on_end(self, run: Run) -> None:
        """Listen no more."""
        if self._tap is not None:
            self._tap.close()
        if self._stop is not None:
            self._stop()
        self._tap = self._stop = None

    def on_detach(self, run: Run) -> None:
        """Remove the hooks and let the teacher go."""
        self.on_end(run)
        super().on_detach(run)

    def state_dict(self) -> dict[str, Any]:
        """The projections; see the base class."""
        return super().state_dict() | {"projections": self._projections.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back the projections; see the base class.

        Raises:
            StateError: The state does not fit.
        """
        super().load_state_dict(state, run)
        device = next((p.device for p in run.model.parameters()), torch.device("cpu"))
        self._projections.load_state_dict(state["projections"], device)


def paired(student: nn.Module, teacher: nn.Module, ours: Sequence[str] | None, theirs: Sequence[str] | None) -> Pairs:
    """Layers of two models by their places in two lists of names; None stands for every Linear and Conv2d.

    Raises:
        RecipeError: A name matches nothing, or the models have another number of such layers.
    """
    mine, other = layers_of(student, ours, "student"), layers_of(teacher, theirs, "teacher")
    if len(mine) != len(other):
        raise RecipeError(
            f"{len(mine)} layers of the student are compared with {len(other)} of the teacher: name as many of both"
        )
    return list(zip(mine, other, strict=True))


def layers_of(model: nn.Module, names: Sequence[str] | None, whose: str) -> list[tuple[str, nn.Module]]:
    """Layers by name, pattern or class, in that order; None stands for every Linear and Conv2d.

    Raises:
        RecipeError: A name matches nothing; it says whose.
    """
    found: list[tuple[str, nn.Module]]
    if names is None:
        found = [(clean_name(n), m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    else:
        try:
            found = [pair for name in names for pair in select_modules(model, [name]).items()]
        except RecipeError as error:
            raise RecipeError([Problem(f"{whose}: {p.message}", hint=p.hint) for p in error.problems]) from error
    if not found:
        raise RecipeError(f"the {whose} has no Linear or Conv2d: name the layers to compare")
    return found


@register("PerLayerDistillationModifier")
class PerLayerDistillationModifier(FeatureDistillation):
    """Trains on ``task + gain * sum over layers of MSE(student, teacher) / (mean(teacher^2) + epsilon)``.

    Layers are paired by their places in the two lists of names; one list stands for both, and none for every Linear and
    Conv2d. Padding (``attention_mask`` 0) does not count.
    ``normalize: false`` leaves the division out. Where widths differ, a linear map (a 1x1 convolution for images) is
    learned along with the model, or it is an error without ``project_features``. ``update_frequency`` is accepted
    and has no meaning: each step counts.
    """

    paper: ClassVar[str] = "Romero et al. 2015, FitNets: Hints for Thin Deep Nets, https://arxiv.org/abs/1412.6550"

    gain: float = Field(1.5, ge=0, allow_inf_nan=False, description="weight of the term in the loss, at least 0")
    normalize: Flag = Field(True, description="divide each layer's error by the teacher's mean square")
    student_layer_names: Selectors | None = Field(None, description="the student's layers; left out: as the teacher's")
    teacher_layer_names: Selectors | None = Field(None, description="the teacher's; left out: as the student's")
    project_features: Flag = Field(True, description="learn a map where widths differ")
    epsilon: float = Field(1e-6, gt=0, allow_inf_nan=False, description="added to the teacher's mean square, above 0")

    @property
    def projects(self) -> bool:
        """As ``project_features`` says."""
        return self.project_features

    def values(self, epoch: float) -> dict[str, float]:
        """The gain, while it acts."""
        return {"distillation_gain": self.gain} if self.active(epoch) else {}

    def pairs(self, student: nn.Module, teacher: nn.Module) -> Pairs:
        """By place in the lists of names."""
        ours, theirs = self.student_layer_names, self.teacher_layer_names
        return paired(student, teacher, ours or theirs, theirs or ours)

    def students_layers(self, student: nn.Module) -> list[str]:
        """By their names."""
        return [name for name, _ in layers_of(student, self.student_layer_names or self.teacher_layer_names, "student")]

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
        """Mean squared error, relative to the teacher unless ``normalize`` is off."""
        if self.normalize:
            return relative_error(student, teacher, mask, self.epsilon)
        return squared_error(student, teacher, mask)

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The task's loss and the layers' errors.

        Raises:
            InputError: Layers differ in shape, or took no part in the forward.
        """
        if self._teacher is None or self.gain == 0:
            return loss
        term = torch.stack([d.to(loss.device) for d in self.distances(inputs)]).sum()
        return loss + self.gain * term * share_of_step(run, inputs)
