"""Sparse training and what keeps activations sparse, not built yet."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sparsify.modifiers.base import Flag, Modifier
from sparsify.modifiers.masking import PatternModifier, Selectors
from sparsify.modifiers.pending.base import Amount, Count, PendingModifier, Share
from sparsify.modifiers.pruning import FinalSparsity
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import Scope

_INSTEAD = "ACDCPruningModifier trains sparse by phases"


class _SparseFromTheStart(PendingModifier, PatternModifier):
    """Sparse from its start on, on the same number of weights, which it chooses anew at each update."""

    instead: ClassVar[str | None] = _INSTEAD

    start_epoch: float
    end_epoch: float
    update_frequency: float = Field(description="epochs between two choices of weights")
    global_sparsity: Flag = Field(False, description="one threshold for all parameters")

    @field_validator("end_epoch")
    @classmethod
    def _ends(cls, value: float) -> float:
        if value == -1:
            raise ValueError("the last choice of weights is made at end_epoch, so it cannot be -1 (never)")
        return value

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"


@register("RigLPruningModifier")
class RigLPruningModifier(_SparseFromTheStart):
    """Drops the smallest weights and regrows those with the largest gradients."""

    paper: ClassVar[str] = "Evci et al. 2020, Rigging the Lottery, arXiv:1911.11134"

    final_sparsity: FinalSparsity = Field(description="sparsity that is held, or {sparsity: [selectors], ...}")
    num_grads: Count = Field(1, description="batches that a gradient is averaged over")
    momentum_buffer_reset: Flag = Field(True, description="zero the momentum of weights that grow again")
    sparsity_strategy: Literal["erdos_renyi_kernel", "erdos_renyi", "uniform"] = Field(
        "erdos_renyi_kernel", description="how layers share the sparsity"
    )
    init_update_fraction: Share = Field(0.3, description="share of the weights exchanged by the first update")
    grad_sampler_kwargs: dict[str, Any] | None = Field(None, description="how gradients are sampled: {batch_size: 16}")

    @model_validator(mode="after")
    def _groups_name_parameters(self) -> RigLPruningModifier:
        if isinstance(self.final_sparsity, dict) and self.params:
            raise ValueError("final_sparsity names the parameters of each sparsity: params must be left out or []")
        return self

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity``, where it is one number, from the start on."""
        held = epoch >= self.start and isinstance(self.final_sparsity, float)
        return {"sparsity": self.final_sparsity} if held else {}  # type: ignore[dict-item]


@register("TopKASTPruningModifier")
class TopKASTPruningModifier(_SparseFromTheStart):
    """Computes with the largest weights and trains some more of them."""

    paper: ClassVar[str] = "Jayakumar et al. 2020, Top-KAST: Top-K Always Sparse Training, arXiv:2106.03517"

    forward_sparsity: float = Field(gt=0, lt=1, description="zeros in the forward pass, between 0 and 1")
    backward_sparsity: float = Field(ge=0, lt=1, description="weights that do not learn, 0 to below 1")
    global_sparsity: Flag = Field(True, description="one threshold for all parameters")
    active_weight_decay: Amount = Field(1e-4, description="weight decay of the weights that learn, at least 0")

    @model_validator(mode="after")
    def _learns_what_it_uses(self) -> TopKASTPruningModifier:
        if self.backward_sparsity > self.forward_sparsity:
            raise ValueError(
                f"backward_sparsity {self.backward_sparsity:g} is above forward_sparsity {self.forward_sparsity:g}: "
                "every weight that is used learns"
            )
        return self

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity`` of the forward pass, from the start on."""
        return {"sparsity": self.forward_sparsity} if epoch >= self.start else {}


@register("PowerpropagationModifier")
class PowerpropagationModifier(PendingModifier, Modifier):
    """Trains ``w * |w|^(alpha - 1)`` in place of w, so that small weights stay small."""

    paper: ClassVar[str] = (
        "Schwarz et al. 2021, Powerpropagation: A sparsity inducing weight reparameterisation, "
        "https://arxiv.org/abs/2110.00296"
    )

    start_epoch: float
    end_epoch: float
    params: Selectors = Field(description="parameter names, re: patterns or a token")
    alpha: float = Field(1.0, ge=1, allow_inf_nan=False, description="the power, at least 1 (which changes nothing)")
    strict: Flag = Field(True, description="refuse selectors that match nothing")


@register("ASRegModifier")
class ASRegModifier(PendingModifier, Modifier):
    """Adds the size of activations to the loss, so that more of them are zero."""

    paper: ClassVar[str] = (
        "Kurtz et al. 2020, Inducing and Exploiting Activation Sparsity for Fast Neural Network Inference, "
        "https://proceedings.mlr.press/v119/kurtz20a.html"
    )

    layers: Selectors = Field(description="module names, re: patterns or a token")
    alpha: Amount = Field(description="weight of the term in the loss, at least 0")
    layer_normalized: Flag = Field(False, description="divide by the number of layers")
    reg_func: Literal["l1", "l2", "relu", "hs"] = Field("l1", description="l1, l2, relu or hs (Hoyer square)")
    reg_tens: Literal["inp", "out"] = Field("inp", description="inp or out: what goes into a layer, or what comes out")
