"""Modifiers that are about to be built: their classes leave this file when they are."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.masking import MaskModifier
from sparsify.modifiers.pending.base import PendingModifier
from sparsify.modifiers.pruning import FinalSparsity, InitSparsity
from sparsify.modifiers.registry import register
from sparsify.pruning.schedules import interpolate


@register("StructuredPruningModifier")
class StructuredPruningModifier(PendingModifier, MaskModifier):
    """Gradual pruning of whole filters or channels, those of a group of parameters together."""

    paper: ClassVar[str] = "Li et al. 2017, Pruning Filters for Efficient ConvNets, https://arxiv.org/abs/1608.08710"

    init_sparsity: InitSparsity = Field(description="sparsity at start_epoch, or __FROM_PARAM__")
    final_sparsity: FinalSparsity = Field(description="sparsity at end_epoch, or {sparsity: [selectors], ...}")
    start_epoch: float
    end_epoch: float = Field(ge=0, description="epoch at which final_sparsity is reached")
    param_groups: list[list[str]] = Field(default_factory=list, description="lists of parameters pruned alike")
    inter_func: Literal["linear", "cubic", "inverse_cubic"] = Field("cubic", description="how sparsity grows")
    mask_type: Literal["filter", "channel"] = Field("filter", description="filter (outputs) or channel (inputs)")

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity``: the schedule's target, where it is one number."""
        if epoch < self.start or not isinstance(self.init_sparsity, float) or isinstance(self.final_sparsity, dict):
            return {}
        return {
            "sparsity": interpolate(
                epoch, self.start, self.end, self.init_sparsity, self.final_sparsity, self.inter_func
            )
        }


@register("LayerThinningModifier")
class LayerThinningModifier(PendingModifier, Modifier):
    """Removes channels that are all zero from the model."""

    kind: ClassVar[str] = "pruning"
    structural: ClassVar[bool] = True

    param_group_dependency_map: dict[str, list[str]] = Field(
        description="what follows from thinning a group: {'param1,param2': [dependent parameters]}"
    )
    structure_type: Literal["filter", "channel"] = Field("filter", description="filter or channel")
    update_epochs: list[float] = Field(default_factory=list, description="further epochs at which it thins")
    strict: Flag = Field(True, description="refuse a dependency that does not fit")
