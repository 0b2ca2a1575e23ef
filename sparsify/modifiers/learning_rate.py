"""Modifiers that set the learning rate. None holds state: the rate is a function of the epoch, so a resume is exact."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sparsify.clock import Clock
from sparsify.modifiers.base import Flag, LearningRateBase, Run, SetOnce
from sparsify.modifiers.registry import register
from sparsify.modifiers.training import check_param_groups

_RATE = "a number above 0"
_RATE_OR_ZERO = "a number of at least 0"


def _step(epoch: float, steps_per_epoch: int) -> int:
    return Clock(steps_per_epoch, 0).step_of(epoch)


class _LearningRate(LearningRateBase):
    def on_attach(self, run: Run) -> None:
        """Check the param groups.

        Raises:
            RecipeError: The optimizer has fewer param groups than are asked for.
        """
        check_param_groups(self.key, self.param_groups, len(run.optimizer.param_groups))

    def steps_in(self, epoch: float, steps_per_epoch: int) -> int:
        """Optimizer steps since the start, at most the last one before the end (so that its rate is what is held)."""
        step, first = _step(epoch, steps_per_epoch), _step(self.start, steps_per_epoch)
        if self.end >= 0:
            step = min(step, _step(self.end, steps_per_epoch) - 1)
        return max(0, step - first)


@register("SetLearningRateModifier")
class SetLearningRateModifier(SetOnce, _LearningRate):
    """Sets one learning rate, which holds until another modifier sets one."""

    learning_rate_: float = Field(alias="learning_rate", gt=0, allow_inf_nan=False, description=_RATE)
    constant_logging: Flag = Field(False, description="accepted; nothing is logged by it")

    def learning_rate(self, epoch: float, steps_per_epoch: int) -> float:
        """The rate set."""
        return self.learning_rate_


@register("LearningRateFunctionModifier")
class LearningRateFunctionModifier(_LearningRate):
    """Moves the learning rate from ``init_lr`` to ``final_lr`` at each step, then holds ``final_lr``.

    ``cosine`` is half a cosine wave, up or down; ``cyclic_linear`` begins again every ``cycle_epochs``, each cycle
    ending on ``final_lr``, the last one shortened to what is left. A warm-up is a ``linear`` one from 0.
    """

    spans: ClassVar[tuple[str, ...]] = ("update_frequency", "cycle_epochs")
    example: ClassVar[Mapping[str, Any]] = {"end_epoch": 3.0}

    start_epoch: float
    end_epoch: float
    lr_func: Literal["linear", "cosine", "cyclic_linear"] = Field(description="linear, cosine or cyclic_linear")
    init_lr: float = Field(ge=0, allow_inf_nan=False, description=_RATE_OR_ZERO)
    final_lr: float = Field(ge=0, allow_inf_nan=False, description=_RATE_OR_ZERO)
    cycle_epochs: float = Field(1.0, gt=0, allow_inf_nan=False, description="epochs of one cycle, above 0")

    @model_validator(mode="after")
    def _takes_time(self) -> LearningRateFunctionModifier:
        if not 0 <= max(self.start_epoch, 0) < self.end_epoch:
            raise ValueError(f"end_epoch {self.end_epoch:g} must come after start_epoch {max(self.start_epoch, 0):g}")
        return self

    def in_words(self) -> str:
        """See the base class."""
        return f"{self.lr_func} {self.init_lr:g} to {self.final_lr:g} in epochs {self.start:g} to {self.end:g}"

    def learning_rate(self, epoch: float, steps_per_epoch: int) -> float:
        """The rate at ``epoch``."""
        if self.end <= self.start:  # from -1 in a stage that begins at its end_epoch
            return self.final_lr
        if self.lr_func == "cyclic_linear":
            done = self._done_of_cycle(self.steps_in(epoch, steps_per_epoch), steps_per_epoch)
        else:
            done = min(max((epoch - self.start) / (self.end - self.start), 0.0), 1.0)
        if self.lr_func == "cosine":
            done = (1.0 - math.cos(math.pi * done)) / 2.0
        return self.init_lr * (1.0 - done) + self.final_lr * done

    def _done_of_cycle(self, step: int, steps_per_epoch: int) -> float:
        total = _step(self.end, steps_per_epoch) - _step(self.start, steps_per_epoch)
        cycle = max(1, round(self.cycle_epochs * steps_per_epoch))
        begun = step - step % cycle
        length = min(cycle, total - begun)
        return (step - begun) / (length - 1) if length > 1 else 0.0


# The arguments of each class: name -> whether it is needed, and what it must be.
_CLASSES: dict[str, dict[str, bool]] = {
    "StepLR": {"step_size": True, "gamma": True},
    "MultiStepLR": {"milestones": True, "gamma": True},
    "ExponentialLR": {"gamma": True},
    "CosineAnnealingWarmRestarts": {"cycle_epochs": True, "lr_min": False},
}


@register("LearningRateModifier")
class LearningRateModifier(_LearningRate):
    """Follows one of torch's schedules, its arguments in epochs, and holds the last rate after the end.

    ``StepLR {step_size, gamma}`` multiplies by gamma every step_size epochs, ``ExponentialLR {gamma}`` every epoch,
    ``MultiStepLR {milestones, gamma}`` at each milestone (an epoch counted as start_epoch is),
    ``CosineAnnealingWarmRestarts {cycle_epochs, lr_min}`` falls to lr_min and begins again.
    """

    more_epochs: ClassVar[tuple[str, ...]] = ("lr_kwargs.milestones",)
    spans: ClassVar[tuple[str, ...]] = ("update_frequency", "lr_kwargs.step_size", "lr_kwargs.cycle_epochs")
    paper: ClassVar[str] = (
        "CosineAnnealingWarmRestarts: Loshchilov and Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts, "
        "https://arxiv.org/abs/1608.03983"
    )
    example: ClassVar[Mapping[str, Any]] = {"lr_kwargs": {"step_size": 0.5, "gamma": 0.5}}

    lr_class: Literal["StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingWarmRestarts"] = Field(
        description=", ".join(_CLASSES)
    )
    lr_kwargs: dict[str, Any] = Field(default_factory=dict, description="the schedule's arguments, in epochs")
    init_lr: float = Field(gt=0, allow_inf_nan=False, description=_RATE)
    constant_logging: Flag = Field(False, description="accepted; nothing is logged by it")

    @model_validator(mode="after")
    def _arguments_fit(self) -> LearningRateModifier:
        known = _CLASSES[self.lr_class]
        for name in self.lr_kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
                raise ValueError(f"lr_kwargs of {self.lr_class} has no {name!r}: {hint}")
        if missing := [name for name, needed in known.items() if needed and name not in self.lr_kwargs]:
            raise ValueError(f"lr_kwargs of {self.lr_class} needs {', '.join(missing)}")
        for name, value in self.lr_kwargs.items():
            if name == "milestones":
                self._check_milestones(value)
            elif not _is_number(value) or value < 0 or (value == 0 and name != "lr_min"):
                wanted = _RATE_OR_ZERO if name == "lr_min" else _RATE
                raise ValueError(f"lr_kwargs.{name} must be {wanted}, got {value!r}")
        return self

    def _check_milestones(self, value: object) -> None:
        if not isinstance(value, list) or not value or not all(map(_is_number, value)):
            raise ValueError(f"lr_kwargs.milestones must be a list of epochs, got {value!r}")
        end = self.end_epoch if self.end_epoch >= 0 else math.inf
        bounds = [max(self.start_epoch, 0.0), *value, end]
        if any(late <= early for early, late in itertools.pairwise(bounds)):
            raise ValueError(
                f"lr_kwargs.milestones must rise and lie between start_epoch {bounds[0]:g} and end_epoch "
                f"{self.end_epoch:g}, got {value!r}"
            )

    def in_words(self) -> str:
        """See the base class."""
        return f"{self.lr_class} {super().in_words()}"

    def learning_rate(self, epoch: float, steps_per_epoch: int) -> float:
        """The rate at ``epoch``."""
        step = self.steps_in(epoch, steps_per_epoch)
        return _RATES[self.lr_class](self, step, steps_per_epoch)

    def _by_step(self, step: int, steps_per_epoch: int) -> float:
        size = max(1, round(self.lr_kwargs.get("step_size", 1) * steps_per_epoch))
        return float(self.init_lr * self.lr_kwargs["gamma"] ** (step // size))

    def _by_milestone(self, step: int, steps_per_epoch: int) -> float:
        reached = step + _step(self.start, steps_per_epoch)
        passed = sum(_step(self._offset + m, steps_per_epoch) <= reached for m in self.lr_kwargs["milestones"])
        return float(self.init_lr * self.lr_kwargs["gamma"] ** passed)

    def _by_cosine(self, step: int, steps_per_epoch: int) -> float:
        cycle, low = self.lr_kwargs["cycle_epochs"] * steps_per_epoch, self.lr_kwargs.get("lr_min", 0.0)
        done = max(0.0, step / cycle - math.floor(step / cycle + 1e-9))
        return float(low + (self.init_lr - low) * (1.0 + math.cos(math.pi * done)) / 2.0)


_RATES: dict[str, Callable[[LearningRateModifier, int, int], float]] = {
    "StepLR": LearningRateModifier._by_step,
    "ExponentialLR": LearningRateModifier._by_step,
    "MultiStepLR": LearningRateModifier._by_milestone,
    "CosineAnnealingWarmRestarts": LearningRateModifier._by_cosine,
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
