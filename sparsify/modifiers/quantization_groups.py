"""``config_groups``: formats by group of target modules, as compressed-tensors writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sparsify.modifiers.base import Flag
from sparsify.modifiers.masking import Selectors
from sparsify.modifiers.quantization_fields import BITS, sized
from sparsify.quantization.qparams import (
    ACTIVATION,
    ACTIVATION_SYMMETRIC,
    WEIGHT,
    WEIGHT_AFFINE,
    WEIGHT_PER_TENSOR,
    QuantSpec,
)
from sparsify.quantization.schemes import Scheme

_MIN_MAX = (None, "minmax", "memoryless")


def _null(value: object) -> object:
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


class Format(BaseModel):
    """One number format."""

    model_config = ConfigDict(extra="forbid", strict=True)

    num_bits: int = Field(8, ge=1, le=16, description="bits of a number, 1 to 16")
    type: Literal["int", "float"] = Field("int", description="int or float")
    symmetric: Flag = Field(True, description="zero point 0")
    strategy: Literal["tensor", "channel", "group", "block", "token"] | None = Field(
        None, description="what has a scale"
    )
    group_size: int | None = Field(None, ge=-1, description="weights that share a scale; -1: a whole channel")
    block_structure: str | None = Field(None, description="block that shares a scale: 2x4")
    dynamic: Flag = Field(False, description="ranges from each batch")
    observer: str | None = Field(None, description="what finds ranges: minmax")
    observer_kwargs: dict[str, Any] | None = Field(None, description="its arguments")
    actorder: str | bool | None = Field(None, description="order in which columns are rounded")

    @model_validator(mode="after")
    def _groups_have_a_size(self) -> Format:
        if self.strategy == "group" and (self.group_size is None or self.group_size < 1):
            raise ValueError("strategy group needs a group_size above 0")
        return self

    def missing(self) -> str | None:
        """What of it is not built; None: nothing."""
        if self.num_bits not in BITS or self.type != "int":
            return f"{self.num_bits} bit {self.type}"
        for name in ("block_structure", "observer_kwargs", "actorder"):
            if getattr(self, name):
                return f"{name} {getattr(self, name)!r}"
        if self.dynamic:
            return "dynamic ranges"
        return None if self.observer in _MIN_MAX else f"the observer {self.observer!r}"


NullableFormat = Annotated[Format | None, BeforeValidator(_null)]


class Group(BaseModel):
    """Formats of the modules that it targets; null leaves a part float."""

    model_config = ConfigDict(extra="forbid", strict=True)

    targets: Selectors = Field(description="module names, re: patterns or class names", min_length=1)
    weights: NullableFormat = Field(None, description="format of weights, or null")
    input_activations: NullableFormat = Field(None, description="format of inputs, or null")
    output_activations: NullableFormat = Field(None, description="format of outputs, or null")

    def scheme(self, missing: list[str]) -> Scheme:
        """The scheme it stands for; what is not built is added to ``missing``."""
        return Scheme(
            _activations(self.input_activations, "inputs", missing),
            _weights(self.weights, missing),
            _activations(self.output_activations, "outputs", missing),
        )


def overrides_of_groups(groups: Mapping[str, Group], missing: list[str]) -> dict[str, Scheme | None]:
    """Schemes by target.

    Raises:
        ValueError: Two groups name the same target.
    """
    found: dict[str, Scheme | None] = {}
    for name, group in groups.items():
        problems: list[str] = []
        scheme = group.scheme(problems)
        missing += [f"{problem} (config_groups.{name})" for problem in problems]
        for target in group.targets:
            if target in found:
                raise ValueError(f"config_groups: two groups target {target!r}")
            found[target] = scheme
    return found


def _activations(form: Format | None, part: str, missing: list[str]) -> QuantSpec | None:
    if form is None:
        return None
    if reason := form.missing() or (form.strategy not in (None, "tensor") and f"{part} by {form.strategy}"):
        missing.append(reason)
    return sized(ACTIVATION_SYMMETRIC if form.symmetric else ACTIVATION, form.num_bits)


def _weights(form: Format | None, missing: list[str]) -> QuantSpec | None:
    if form is None:
        return None
    strategy = form.strategy or ("group" if form.group_size else None)
    if reason := form.missing() or (strategy in ("block", "token") and f"weights by {strategy}"):
        missing.append(reason)
    if not form.symmetric:
        if strategy == "group":
            missing.append("weights by group with a zero point")
        return sized(WEIGHT_AFFINE, form.num_bits)
    spec = sized(WEIGHT if strategy in ("channel", "group") else WEIGHT_PER_TENSOR, form.num_bits)
    grouped = strategy == "group" and form.group_size is not None and form.group_size > 0
    return replace(spec, group=form.group_size) if grouped else spec
