"""Pruning by second-order information (Fisher matrices). The schedules are built, the scores are not."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, field_validator, model_validator

from sparsify.modifiers.base import Flag
from sparsify.modifiers.pending.base import Count, PendingModifier, counts_by_sparsity
from sparsify.modifiers.pruning import GradualPruning
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import Scope

_INSTEAD = "GlobalMagnitudePruningModifier follows the same schedule by magnitude"
_MFAC_OPTIONS = (
    "num_grads",
    "damp",
    "grads_device",
    "fisher_block_size",
    "num_pages",
    "available_devices",
    "available_gpus",
)
GradCounts = Annotated[
    int | dict[float, int], PlainValidator(counts_by_sparsity, json_schema_input_type=int | dict[float, int])
]


@register("OBSPruningModifier")
class OBSPruningModifier(PendingModifier, GradualPruning):
    """Gradual pruning by the optimal BERT surgeon."""

    paper: ClassVar[str] = "Kurtic et al. 2022, The Optimal BERT Surgeon, arXiv:2203.07259"
    instead: ClassVar[str | None] = _INSTEAD

    global_sparsity: Flag = Field(True, description="one threshold for all parameters")
    num_grads: Count = Field(1024, description="gradients that the Fisher matrix is estimated from")
    damp: float = Field(1e-7, gt=0, allow_inf_nan=False, description="added to the matrix's diagonal, above 0")
    fisher_block_size: Count = Field(50, description="side of the blocks that the matrix is cut into")
    grad_sampler_kwargs: dict[str, Any] | None = Field(None, description="how gradients are sampled: {batch_size: 16}")
    num_recomputations: Count = Field(1, description="how often an update computes the matrix anew")

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"

    @field_validator("mask_type")
    @classmethod
    def _has_scores(cls, value: str | list[int]) -> str | list[int]:
        if value not in ("unstructured", "block4"):
            raise ValueError("it is 'unstructured' or 'block4' with this modifier")
        return value

    @model_validator(mode="after")
    def _blocks_fit(self) -> OBSPruningModifier:
        if self.mask_type == "block4" and "fisher_block_size" in self.model_fields_set and self.fisher_block_size % 4:
            raise ValueError(f"fisher_block_size must be a multiple of 4 with block4, got {self.fisher_block_size}")
        return self


@register("MFACPruningModifier")
class MFACPruningModifier(PendingModifier, GradualPruning):
    """Gradual pruning by M-FAC's estimate of the inverse Fisher matrix."""

    paper: ClassVar[str] = "Frantar, Kurtic and Alistarh 2021, M-FAC, arXiv:2107.03356"
    instead: ClassVar[str | None] = _INSTEAD

    global_sparsity: Flag = Field(False, description="one threshold for all parameters")
    use_gradient_buffering: Flag | None = Field(None, description="true: gradients of training, false: sampled ones")
    num_grads: GradCounts = Field(64, description="gradients kept, or {sparsity: number, ...} with 0.0 among them")
    damp: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the matrix's diagonal, above 0")
    grads_device: str = Field("cpu", description="where gradients are kept: cpu, cuda:0, ...")
    fisher_block_size: Count | None = Field(2000, description="side of the matrix's blocks; null: one block")
    num_pages: Count = Field(1, description="parts that gradients are held in on the computing device")
    available_devices: list[str] | None = Field(None, description="devices that compute: [cuda:0]; left out: any")
    available_gpus: list[str] | None = Field(None, description="the old name of available_devices")
    grad_sampler_kwargs: dict[str, Any] | None = Field(None, description="how gradients are sampled: {batch_size: 16}")

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"

    mfac_options: dict[str, Any] | None = Field(None, description="the same options in a mapping, as they once stood")

    @model_validator(mode="before")
    @classmethod
    def _options_are_fields(cls, values: Any) -> Any:
        options = values.get("mfac_options") if isinstance(values, dict) else None
        if not isinstance(options, dict):
            return values
        for name in options:
            if name not in _MFAC_OPTIONS:
                near = difflib.get_close_matches(str(name), _MFAC_OPTIONS, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(_MFAC_OPTIONS)}"
                raise ValueError(f"mfac_options has no {name!r}: {hint}")
            if name in values:
                raise ValueError(f"{name} stands in mfac_options and beside it: give it once")
        return {**values, **options}

    @model_validator(mode="after")
    def _one_name(self) -> MFACPruningModifier:
        if self.available_gpus is not None and self.available_devices is not None:
            raise ValueError("available_gpus is the old name of available_devices: give one of them")
        return self


@register("MFACGlobalPruningModifier")
class MFACGlobalPruningModifier(MFACPruningModifier):
    """M-FAC pruning with one threshold over all parameters: together they reach the sparsity."""

    global_sparsity: Flag = Field(True, description="one threshold for all parameters")
