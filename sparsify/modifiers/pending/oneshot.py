"""Compression in one shot, layer by layer, from calibration data: not built yet."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator, model_validator

from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.masking import Selectors
from sparsify.modifiers.pending.base import Count, MaskStructure, PendingModifier, Share
from sparsify.modifiers.quantization_groups import Group
from sparsify.modifiers.registry import register

_PRUNE = "MagnitudePruningModifier prunes without calibration data"
_QUANTIZE = "QuantizationModifier calibrates int8 weights and activations"


def _sparsities(value: Any) -> float | list[float]:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1 for n in numbers):
        raise ValueError("a sparsity from 0 to below 1, or a list of them, one for each target")
    return [float(n) for n in numbers] if isinstance(value, list) else float(value)


def _flag_or_fields(value: object) -> object:
    if isinstance(value, bool | dict) or value in (0, 1):
        return value if isinstance(value, dict) else bool(value)
    raise ValueError("true, false, or the fields of a quantization modifier")


def _mappings(value: object) -> list[Any]:
    if not isinstance(value, list) or not value or not all(map(_is_mapping, value)):
        raise ValueError("a list of [[layers to balance], layer before them], such as [[[re:.*q_proj], re:.*norm]]")
    return value


def _is_mapping(entry: object) -> bool:
    if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[1], str):
        return False
    names = entry[0]
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)


Sparsities = Annotated[float | list[float], PlainValidator(_sparsities, json_schema_input_type=float | list[float])]
FlagOrFields = Annotated[bool | dict[str, Any], PlainValidator(_flag_or_fields, json_schema_input_type=bool | dict)]
Mappings = Annotated[list[Any], PlainValidator(_mappings, json_schema_input_type=list[Any])]
TargetIds = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class _LayerwisePruning(PendingModifier, Modifier):
    kind: ClassVar[str] = "pruning"
    instead: ClassVar[str | None] = _PRUNE

    sparsity: Sparsities = Field(0.0, description="share of zeros, or a list of shares, one for each target")
    sparsity_profile: Literal["owl"] | None = Field(None, description="owl: layers with outliers stay denser")
    owl_m: Count | None = Field(None, description="a weight this many times the mean is an outlier")
    owl_lmbda: float | None = Field(None, gt=0, lt=1, description="how far a layer's sparsity may differ")
    mask_structure: MaskStructure = Field("0:0", description="N:M, or 0:0 for unstructured")
    sequential_update: Flag = Field(False, description="calibrate each layer on the output of compressed ones")
    targets: Selectors | None = Field(None, description="layer names, re: patterns or classes; left out: all")

    @model_validator(mode="after")
    def _owl_is_whole(self) -> _LayerwisePruning:
        given = [name for name in ("owl_lmbda", "owl_m") if getattr(self, name) is not None]
        if self.sparsity_profile == "owl" and len(given) < 2:
            raise ValueError("sparsity_profile owl needs owl_m and owl_lmbda")
        if given and self.sparsity_profile != "owl":
            raise ValueError(f"{' and '.join(given)} belong to sparsity_profile owl")
        return self


@register("SparseGPTModifier")
class SparseGPTModifier(_LayerwisePruning):
    """Prunes each layer and lets its other weights make up for it."""

    paper: ClassVar[str] = "Frantar and Alistarh 2023, SparseGPT, arXiv:2301.00774"

    block_size: Count = Field(128, description="columns that are worked on together")
    dampening_frac: Share = Field(
        0.01,
        description="share of the diagonal's mean that is added to it (once called percdamp)",
        validation_alias=AliasChoices("dampening_frac", "percdamp"),
    )
    preserve_sparsity_mask: Flag = Field(False, description="keep zeros that are there already")
    quantize: FlagOrFields = Field(False, description="true, or fields of a quantization modifier: quantize as well")
    prunen: int | None = Field(None, ge=0, description="N of N:M, as mask_structure says now")
    prunem: int | None = Field(None, ge=0, description="M of N:M, as mask_structure says now")
    target_ids: TargetIds | None = Field(None, description="inputs that are passed on from layer to layer")

    @model_validator(mode="after")
    def _one_structure(self) -> SparseGPTModifier:
        if (self.prunen is None) != (self.prunem is None):
            raise ValueError("prunen and prunem go together: N of each M")
        if self.prunen is not None and self.prunem is not None:
            if self.prunen > self.prunem:
                raise ValueError(f"prunen {self.prunen} is above prunem {self.prunem}")
            if self.prunem and self.mask_structure not in ("0:0", f"{self.prunen}:{self.prunem}"):
                raise ValueError(f"prunen {self.prunen} and prunem {self.prunem} contradict {self.mask_structure}")
        return self


@register("WandaPruningModifier")
class WandaPruningModifier(_LayerwisePruning):
    """Prunes each layer's weights by ``|w| * ||x||``, row by row."""

    paper: ClassVar[str] = (
        "Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language Models, arXiv:2306.11695"
    )


@register("GPTQModifier")
class GPTQModifier(PendingModifier, Modifier):
    """Rounds each layer's weights and lets the others make up for it."""

    paper: ClassVar[str] = "Frantar et al. 2022, GPTQ, arXiv:2210.17323"

    kind: ClassVar[str] = "quantization"
    instead: ClassVar[str | None] = _QUANTIZE
    epoch_fields: ClassVar[tuple[str, ...]] = ("start_epoch", "end_epoch", "disable_quantization_observer_epoch")

    sequential_update: Flag = Field(False, description="calibrate each layer on the output of compressed ones")
    targets: Selectors | None = Field(None, description="layer names, re: patterns or classes; left out: all")
    block_size: Count = Field(128, description="columns that are worked on together")
    quantize: FlagOrFields = Field(True, description="true, or fields of a quantization modifier")
    dampening_frac: Share = Field(
        0.01,
        description="share of the diagonal's mean that is added to it (once called percdamp)",
        validation_alias=AliasChoices("dampening_frac", "percdamp"),
    )
    config_groups: dict[str, Group] | None = Field(None, description="formats by group: {group_0: {targets: ...}}")
    scheme: str | dict[str, Any] | None = Field(None, description="a preset such as W4A16, or its parts")
    ignore: Selectors = Field(default_factory=list, description="layers that stay as they are")
    disable_quantization_observer_epoch: float | None = Field(None, description="epoch from which ranges stay")
    num_calibration_steps: Count | None = Field(None, description="batches of calibration data; left out: all")

    @model_validator(mode="after")
    def _one_format(self) -> GPTQModifier:
        if self.scheme is not None and self.config_groups is not None:
            raise ValueError("scheme and config_groups both say the format: give one of them")
        return self


class _Smoothing(PendingModifier, Modifier):
    kind: ClassVar[str] = "quantization"
    instead: ClassVar[str | None] = "QuantizationModifier, trained, needs no smoothing"

    smoothing_strength: Share = Field(0.5, description="0: only weights count, 1: only activations")
    mappings: Mappings = Field(description="[[layers to balance], layer before them], one for each place")
    ignore: Selectors = Field(default_factory=list, description="layers that stay as they are")
    num_calibration_steps: Count | None = Field(None, description="batches of calibration data; left out: all")

    @model_validator(mode="after")
    def _at_once(self) -> _Smoothing:
        if (self.start_epoch, self.end_epoch) != (-1, -1):
            raise ValueError("it acts once, before anything else: leave start_epoch and end_epoch out")
        return self


@register("SmoothQuantModifier")
class SmoothQuantModifier(_Smoothing):
    """Moves the spread of activations into weights before quantization."""

    paper: ClassVar[str] = "Xiao et al. 2022, SmoothQuant, arXiv:2211.10438"


@register("LogarithmicEqualizationModifier")
class LogarithmicEqualizationModifier(_Smoothing):
    """As SmoothQuantModifier, with scales on a logarithmic axis."""
