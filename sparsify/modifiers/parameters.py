"""Modifiers that write values into parameters."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PlainValidator, PrivateAttr, field_validator, model_validator
from torch import Tensor, nn

from sparsify.errors import RecipeError
from sparsify.modifiers.base import Flag, Modifier, Run, SetOnce, reached
from sparsify.modifiers.masking import Selectors
from sparsify.modifiers.registry import register
from sparsify.modifiers.training import select_leniently
from sparsify.pruning.schedules import interpolate
from sparsify.select import select_parameters

Number = int | float


def _value(value: object) -> Any:
    _shape(value)
    return value


def _shape(value: object) -> tuple[int, ...]:
    """Shape of nested lists of numbers; () for a number."""
    if isinstance(value, list) and value:
        shapes = {_shape(item) for item in value}
        if len(shapes) > 1:
            raise ValueError("lists of one depth must be of one length")
        return (len(value), *shapes.pop())
    if not isinstance(value, Number) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("a finite number, or nested lists of such numbers in the parameter's shape")
    return ()


Value = Annotated[Any, PlainValidator(_value, json_schema_input_type=float | list[Any])]
"""A number, or nested lists of numbers."""


class _Writes(Modifier):
    one_shot: ClassVar[bool] = True

    params: Selectors = Field(description="names, re: patterns, __ALL__ or __ALL_PRUNABLE__", min_length=1)
    params_strict: Flag = Field(True, description="false: selectors that match nothing are passed over")

    _params: dict[str, nn.Parameter] = PrivateAttr(default_factory=dict)

    def _selected(self, model: nn.Module) -> dict[str, nn.Parameter]:
        if self.params_strict:
            return select_parameters(model, self.params)
        return select_leniently(model, self.params, self.key)

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters it would write; see the base class."""
        return tuple(self._selected(model))

    def resolve(self, model: nn.Module, value: object) -> None:
        """Find the parameters, and compare their shapes with a value's (a number fills any).

        Raises:
            RecipeError: A selector matches nothing (unless ``params_strict`` is off), or a shape differs.
        """
        strict = self.params_strict
        self._params = (
            select_parameters(model, self.params) if strict else select_leniently(model, self.params, self.key)
        )
        wanted = _shape(value)
        wrong = [name for name, p in self._params.items() if wanted and tuple(p.shape) != wanted]
        if wrong:
            shape = list(self._params[wrong[0]].shape)
            raise RecipeError(f"{wrong[0]} is {shape}, the value given for it {list(wanted)}: give a number to fill it")

    def write(self, value: Tensor) -> None:
        """Put ``value`` into each parameter."""
        with torch.no_grad():
            for parameter in self._params.values():
                parameter.copy_(value.to(parameter.dtype).expand_as(parameter))

    def on_detach(self, run: Run) -> None:
        """Let the parameters go."""
        self._params = {}


@register("SetParamModifier")
class SetParamModifier(SetOnce, _Writes):
    """Sets parameters to a value at ``start_epoch``; afterwards training moves them as it likes.

    To hold them, add a TrainableParamsModifier that freezes them.
    """

    start_epoch: float = 0.0
    val: Value = Field(description="a number, or nested lists of numbers in the parameter's shape")

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters.

        Raises:
            RecipeError: A selector matches nothing, or the value has another shape.
        """
        self.resolve(run.model, self.val)

    def on_start(self, run: Run) -> None:
        """Set them."""
        self.write(torch.tensor(self.val, dtype=torch.float64))


@register("GradualParamModifier")
class GradualParamModifier(_Writes):
    """Moves parameters from one value to another: at its start, every ``update_frequency`` epochs, and at its end.

    Between two updates training moves them. The end is reached even where ``end_epoch`` is the run's last epoch.
    """

    start_epoch: float
    end_epoch: float
    init_val: Value = Field(description="a number, or nested lists of numbers in the parameter's shape")
    final_val: Value = Field(description="the same at end_epoch, in the shape of init_val")
    inter_func: Literal["linear", "cubic", "inverse_cubic"] = Field("linear", description="how the value moves")

    @field_validator("end_epoch")
    @classmethod
    def _ends(cls, value: float) -> float:
        if value == -1:
            raise ValueError("final_val is reached at end_epoch, so it cannot be -1 (never)")
        return value

    @model_validator(mode="after")
    def _values_agree(self) -> GradualParamModifier:
        if self.end_epoch <= max(self.start_epoch, 0.0):
            raise ValueError(f"end_epoch {self.end_epoch:g} must come after start_epoch {max(self.start_epoch, 0.0):g}")
        first, last = _shape(self.init_val), _shape(self.final_val)
        if first != last:
            raise ValueError(f"init_val has the shape {list(first)}, final_val {list(last)}: give both the same")
        return self

    def values(self, epoch: float) -> dict[str, float]:
        """``param_value`` from the start on, where it is one number."""
        if isinstance(self.init_val, list) or not reached(epoch, self.start):
            return {}
        return {"param_value": float(self._at(epoch))}

    def _at(self, epoch: float) -> Tensor:
        share = interpolate(epoch, self.start, self.end, 0.0, 1.0, self.inter_func)
        first, last = (torch.tensor(value, dtype=torch.float64) for value in (self.init_val, self.final_val))
        return first * (1.0 - share) + last * share

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters.

        Raises:
            RecipeError: A selector matches nothing, or the values have another shape.
        """
        self.resolve(run.model, self.init_val)

    def on_update(self, run: Run) -> None:
        """Set them to where the schedule stands."""
        last = min(run.clock.step_of(self.end), run.clock.total_steps)
        self.write(self._at(self.end if run.clock.step >= last else run.clock.epoch))
