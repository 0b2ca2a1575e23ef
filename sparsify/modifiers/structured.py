"""Structured pruning: masks over whole attention heads, neurons and filters, so that they can be removed for real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr, field_validator, model_validator
from torch import Tensor, nn

from sparsify.errors import InputError, StateError
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import MaskModifier
from sparsify.modifiers.pruning import InitSparsity
from sparsify.modifiers.registry import register
from sparsify.modifiers.unit_selection import UnitSelection
from sparsify.pruning.mask_set import MaskSet
from sparsify.pruning.masks import Scope
from sparsify.pruning.schedules import SCHEDULES, interpolate
from sparsify.pruning.shrink import Shrinkage
from sparsify.pruning.slots import Kind, Structure
from sparsify.pruning.structures import unit_parameters
from sparsify.pruning.units import dead_units, keep_units, unit_gradients, unit_scores, weight_masks
from sparsify.select import clean_name

MaskOf = Literal["filter", "channel", "heads", "neurons"]
_KINDS: dict[MaskOf, tuple[Kind, ...]] = {
    "filter": ("filters", "neurons"),
    "channel": ("filters", "neurons"),
    "heads": ("heads",),
    "neurons": ("neurons",),
}
_EPS = 1e-6  # epochs


@register("StructuredPruningModifier")
class StructuredPruningModifier(MaskModifier):
    """Masks whole units, gradually, with all that belongs to them; ``LayerThinningModifier`` then removes them.

    ``mask_type`` says what a unit is. ``heads``: attention heads, that is their rows of query, key and value and their
    columns of the output matrix. ``neurons``: hidden neurons of feed-forward layers, rows of the first matrix and
    columns of the second. ``filter``: rows (filters of convolutions, neurons of Linears) of the weights that ``params``
    selects; ``channel``: columns of the weights that ``params`` selects. In all of them the matching rows, columns,
    biases and batch norms of the neighbours go along, and each layer keeps at least one unit. Without ``params`` all
    that the model has of the kind is pruned; what a token selects and cannot be removed as a whole is left out. A unit
    that was masked does not learn again, since nothing passes through it: ``leave_enabled: false`` only stops holding.

    Scores: ``magnitude``, root mean square of a unit's weights; or ``taylor``, the size of the loss's derivative by a
    mask on the unit (Michel et al. 2019), a moving average over the steps.
    """

    early_gradients: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Michel et al. 2019, Are Sixteen Heads Really Better than One?, https://arxiv.org/abs/1905.10650 (taylor scores)"
    )

    mask_type: MaskOf = Field("filter", description="filter, channel, heads or neurons")
    init_sparsity: InitSparsity = Field(description="fraction of units masked at start_epoch, or __FROM_PARAM__")
    final_sparsity: Annotated[float, Field(gt=0, lt=1)] = Field(description="fraction of units masked at end_epoch")
    start_epoch: float
    end_epoch: float
    inter_func: str = Field("cubic", description=f"how sparsity grows: {', '.join(SCHEDULES)}")
    param_groups: list[list[str]] = Field(
        default_factory=list, description="names of weights whose units must stay or go together"
    )
    score_type: Literal["magnitude", "taylor"] = Field("magnitude", description="magnitude or taylor")
    score_momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.98, description="of the moving average of taylor scores"
    )
    global_sparsity: Flag = Field(False, description="the lowest scores of all layers go, instead of as many in each")

    _units: dict[str, Structure] = PrivateAttr(default_factory=dict)
    _first: dict[str, int] = PrivateAttr(default_factory=dict)
    _kept: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _importance: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _from: dict[str, float] = PrivateAttr(default_factory=dict)

    @field_validator("inter_func")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SCHEDULES:
            raise ValueError(f"one of {', '.join(SCHEDULES)}")
        return value

    @model_validator(mode="after")
    def _fields_agree(self) -> StructuredPruningModifier:
        if self.end_epoch == -1:
            raise ValueError("final_sparsity is reached at end_epoch, so it cannot be -1 (never)")
        return self

    @property
    def selectors(self) -> tuple[str, ...]:
        """None: which parameters have units of its kind shows in a model only."""
        return ()

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"

    @property
    def unit_sparsity(self) -> dict[str, float]:
        """Fraction of each structure's units that is masked or removed now."""
        left = {name: int(kept.sum()) for name, kept in self._kept.items()}
        return {name: 1.0 - left[name] / self._first[name] for name in left}

    def on_attach(self, run: Run) -> None:
        """Find the units.

        Raises:
            RecipeError: A selector matches nothing, names a weight whose units cannot be removed, or there are none.
        """
        found = self._found(run.model)
        self._units = {s.name: s for s in found}
        self._first = {s.name: s.units for s in found}
        self._kept = {s.name: torch.ones(s.units, dtype=torch.bool) for s in found}
        self._importance, self._from = {}, {}
        self._held = MaskSet(self.choose(run.model))

    def choose(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """All parameters that hold a part of the units."""
        return {clean_name(n): p for s in self._found(model) for _, p, n in unit_parameters(model, s)}

    def _found(self, model: nn.Module) -> list[Structure]:
        axes = {"filter": (0,), "channel": (1,)}.get(self.mask_type, (0, 1))
        return UnitSelection(_KINDS[self.mask_type], axes, self.params, self.param_groups).find(model)

    def on_start(self, run: Run) -> None:
        """Note where each structure's sparsity begins."""
        self._from = dict.fromkeys(self._units, 0.0)
        if isinstance(self.init_sparsity, float):
            self._from = dict.fromkeys(self._units, self.init_sparsity)
            return
        for name, structure in self._units.items():
            self._kept[name] = ~dead_units(run.model, structure).cpu()
            self._from[name] = 1.0 - int(self._kept[name].sum()) / self._first[name]

    @property
    def needs_gradients(self) -> bool:
        """Whether scores are taylor's."""
        return self.score_type == "taylor"

    def on_gradients(self, run: Run) -> None:
        """Average taylor scores."""
        for name, structure in self._units.items() if self.needs_gradients else ():
            now = unit_gradients(run.model, structure)
            if now is not None and bool(torch.isfinite(now).all()):
                before = self._importance.get(name, torch.zeros_like(now))
                share = (1.0 - self.score_momentum) / run.grad_scale
                self._importance[name] = before.mul(self.score_momentum).add_(now, alpha=share)

    def on_update(self, run: Run) -> None:
        """Mask to the schedule's sparsity; what is masked stays masked.

        With taylor scores an update before the first gradient is left out.

        Raises:
            InputError: The last update has come, and no step has shown a gradient.
        """
        self._held.check_finite()
        epoch = self.schedule_epoch(run)
        wanted = {name: round(first * self._at(epoch, self._from[name])) for name, first in self._first.items()}
        if self.needs_gradients and not self._importance:
            if epoch >= self.end:
                raise InputError(f"{self.key}: taylor scores need gradients: train, or use score_type: magnitude")
            return
        scores = {name: self._scores(run.model, s) for name, s in self._units.items()}
        going = {name: wanted[name] - (self._first[name] - len(score)) for name, score in scores.items()}
        self._kept = {name: kept.cpu() for name, kept in keep_units(scores, going, self.scope).items()}
        self._hold(run.model)

    def _scores(self, model: nn.Module, structure: Structure) -> Tensor:
        if self.score_type == "magnitude":
            scores = unit_scores(model, structure)
        else:
            scores = self._importance.get(structure.name, torch.zeros(structure.units))
            if self.global_sparsity:  # layers differ in scale, as Michel et al. saw
                scores = scores / scores.norm().clamp_min(1e-12)
        return scores.masked_fill(~self._kept[structure.name].to(scores.device), -1.0)

    def _hold(self, model: nn.Module) -> None:
        masks = weight_masks(model, {s: self._kept[name] for name, s in self._units.items()})
        self._held.replace({clean_name(name): mask for name, mask in masks.items()})
        self._held.apply()

    def schedule_epoch(self, run: Run) -> float:
        """Where in its schedule an update stands: the last one of the run is at the end, whatever the rounding."""
        last = min(run.clock.step_of(self.end), run.clock.total_steps)
        return self.end if run.clock.step >= last else run.clock.epoch

    def _at(self, epoch: float, initial: float) -> float:
        return interpolate(epoch, self.start, self.end, initial, self.final_sparsity, self.inter_func)

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity`` of the units, as the schedule says; nothing before the start."""
        if epoch < self.start - _EPS or (not self.leave_enabled and epoch > self.end + _EPS):
            return {}
        known = self.init_sparsity if isinstance(self.init_sparsity, float) else 0.0
        begun = sum(self._from.values()) / len(self._from) if self._from else known
        return {"sparsity": self._at(epoch, begun)}

    def on_end(self, run: Run) -> None:
        """Drop the masks, unless they are to stay."""
        super().on_end(run)
        if not self.leave_enabled:
            self._kept = {name: torch.ones_like(kept) for name, kept in self._kept.items()}

    def on_resize(self, run: Run, change: Shrinkage) -> None:
        """Cut masks and scores; the units that are left get new numbers."""
        super().on_resize(run, change)
        self._units = {s.name: s for s in self._found(run.model)}
        for name in set(change.kept) & set(self._units):
            units = change.kept[name].cpu()
            self._kept[name] = self._kept[name][units]
            if name in self._importance:
                self._importance[name] = self._importance[name][units]

    def state_dict(self) -> dict[str, Any]:
        """Units that are kept, their scores, and where the schedule began."""
        return {
            "kept": {name: kept.to(torch.uint8) for name, kept in self._kept.items()},
            "importance": dict(self._importance),
            "first": dict(self._first),
            "from": dict(self._from),
        }

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back masks, scores and first numbers of units.

        Raises:
            StateError: The model has other units.
        """
        widths = {name: kept.numel() for name, kept in state["kept"].items()}
        for name in sorted(set(widths) | set(self._units)):
            now = self._units[name].units if name in self._units else None
            if widths.get(name) != now:
                raise StateError(f"saved are masks of {widths.get(name)} units of {name}, the model has {now}")
        self._kept = {name: kept.bool() for name, kept in state["kept"].items()}
        self._importance = {name: score.to(_device(run.model)) for name, score in state["importance"].items()}
        self._first, self._from = dict(state["first"]), dict(state["from"])
        self._hold(run.model)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
