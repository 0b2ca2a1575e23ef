"""Quantization after training: ranges from a few batches, or from each batch at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator
from torch import nn

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.masking import Selector
from sparsify.modifiers.quantization import FROZEN
from sparsify.modifiers.quantization_fields import overrides_of, scheme_of
from sparsify.modifiers.registry import register
from sparsify.quantization.calibrate import OBSERVER, calibrate, first_samples
from sparsify.quantization.insert import chosen_layers, insert_quantizers
from sparsify.quantization.qparams import ACTIVATION_DYNAMIC
from sparsify.quantization.range_observers import PERCENTILE
from sparsify.quantization.schemes import Scheme, Selection


@register("PostTrainingQuantizationModifier")
class PostTrainingQuantizationModifier(Modifier):
    """Quantizes to int8 once the weights are final, by the quantizers that quantization-aware training uses.

    ``static``: ranges of activations are found by running the model on ``num_calibration_samples`` examples.
    ``dynamic``: each batch has its own, found at run time; attention's matmuls and convolutions stay float, as in ONNX
    Runtime's ``quantize_dynamic``, which makes the ONNX file. Weights are int8 (symmetric, one scale per output
    channel) either way. In a one-shot run it acts after pruning; where a recipe trains, after the last step. Its times
    are accepted and have no meaning.
    """

    order: ClassVar[int] = 60
    kind: ClassVar[str] = "quantization"
    structural: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"approach": "static", "num_calibration_samples": 50}
    paper: ClassVar[str] = (
        "Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only "
        "Inference, https://arxiv.org/abs/1712.05877"
    )

    approach: Literal["static", "dynamic"] = Field("static", description="static or dynamic")
    num_calibration_samples: int | None = Field(
        None, gt=0, description="examples to calibrate on; left out: all that are given"
    )
    observer: Literal["min_max", "moving_average", "percentile", "mse", "entropy"] | None = Field(
        None, description=f"what finds static ranges; left out: {OBSERVER}"
    )
    percentile: float = Field(
        PERCENTILE, gt=50, le=100, description="percent of the values inside the range of the percentile observer"
    )
    scheme: str | dict[str, Any] | None = Field(
        None, description="default, deepsparse, tensorrt, or {weights, input_activations}"
    )
    scheme_overrides: dict[Selector, Any] | None = Field(
        None, description="schemes by module name, 're:PATTERN' or class; null leaves it float"
    )
    ignore: list[Selector] | None = Field(None, description="names, 're:PATTERN' or classes of modules that stay float")
    submodules: list[str] | None = Field(
        None, description="full names of modules; layers outside stay float; left out: the whole model"
    )
    quantize_embeddings: Flag = Field(True, description="whether weights of embeddings are quantized")
    strict: Flag = Field(True, description="whether names in ignore and scheme_overrides must match something")

    _missing: list[str] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _fields_go_together(self) -> PostTrainingQuantizationModifier:
        given = self.model_fields_set
        if self.approach == "dynamic":
            static = sorted({"num_calibration_samples", "observer", "percentile", "scheme", "scheme_overrides"} & given)
            if static:
                raise ValueError(f"{', '.join(static)}: of static quantization only; dynamic needs no calibration")
        if "percentile" in given and self.observer != "percentile":
            raise ValueError("percentile belongs to observer: percentile")
        missing: list[str] = []
        self.selection(missing)
        self._missing = list(dict.fromkeys(missing))
        return self

    @property
    def unavailable(self) -> str | None:
        """Formats that its fields ask for and that are not built."""
        return f"PostTrainingQuantizationModifier with {'; '.join(self._missing)}" if self._missing else None

    @property
    def needs_data(self) -> bool:
        """Whether ranges must be calibrated."""
        return self.approach == "static"

    def selection(self, missing: list[str] | None = None) -> Selection:
        """What is quantized and how; what is not built yet is added to ``missing``."""
        found = [] if missing is None else missing
        dynamic = Scheme(inputs=ACTIVATION_DYNAMIC)
        return Selection(
            default=dynamic if self.approach == "dynamic" else scheme_of(self.scheme, found),
            overrides=overrides_of(self.scheme_overrides or {}, found),
            ignore=tuple(self.ignore or ()),
            submodules=None if self.submodules is None else tuple(self.submodules),
            embeddings=self.quantize_embeddings,
            strict=self.strict,
        )

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the weights it would quantize; see the base class."""
        return tuple(f"{name}.weight" for name in chosen_layers(model, self.selection()))

    def update_steps(self, clock: Clock) -> list[int]:
        """The end of the run: a loop calibrates when it is over."""
        return [clock.total_steps]

    def values(self, epoch: float) -> dict[str, float]:
        """``quantization``: 2 (frozen), from the run's end on."""
        return {"quantization": float(FROZEN)}

    def on_structure(self, model: nn.Module) -> None:
        """Insert the quantizers, switched off.

        Raises:
            RecipeError: Names that the model lacks, or formats that are not available yet.
        """
        if self.unavailable:
            raise RecipeError(f"not available yet: {self.unavailable}")
        insert_quantizers(model, self.selection())

    def calibrate(self, model: nn.Module, batches: Iterable[Any] | None) -> None:
        """Find ranges and switch the quantizers on; the model has them and its final weights.

        Args:
            model: Changed in place; its mode is kept.
            batches: Model inputs; nothing is needed where ranges are dynamic.

        Raises:
            InputError: Ranges are static and there is no batch.
        """
        limited = None if not self.needs_data else first_samples(batches or (), self.num_calibration_samples)
        calibrate(model, limited, observer=self.observer or OBSERVER, percentile=self.percentile)
