"""Gradual pruning with all of the choices that Neural Compressor's pruner had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, model_validator
from torch import nn

from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import OnMisfit, Selectors, named_parameters
from sparsify.modifiers.progressive import ProgressivePruning
from sparsify.modifiers.pruning import InitSparsity
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import Scope
from sparsify.pruning.patterns import parse_pattern
from sparsify.pruning.regularize import group_lasso
from sparsify.pruning.schedules import interpolate, multi_step
from sparsify.pruning.score_set import CRITERIA
from sparsify.select import prunable_parameters, select_parameters, task_head


def _criterion(value: object) -> str:
    if isinstance(value, str) and value.lower() in CRITERIA:
        return value.lower()
    if isinstance(value, str) and value.lower().removesuffix("_progressive") in CRITERIA:
        raise ValueError(
            f"the progressive form of a score is a field of its own: score_type: "
            f"{value.lower().removesuffix('_progressive')}, progressive: true"
        )
    raise ValueError(f"a score is one of {', '.join(CRITERIA)}")


ScoreType = Annotated[str, PlainValidator(_criterion, json_schema_input_type=Literal[tuple(CRITERIA)])]
"""A name of ``CRITERIA``."""


@register("WeightPruningModifier")
class WeightPruningModifier(ProgressivePruning):
    """Gradual pruning with every choice free: score, pattern, scope, bounds per layer, schedule.

    The family of Neural Compressor's ``WeightPruningConfig`` with its defaults for score, scope and bounds. Without
    ``params``: the weights of Linear and Conv modules, but for a Hugging Face model's task head and pooler.
    """

    paper: ClassVar[str] = (
        "snip: Lee, Ajanthan and Torr 2019, SNIP: Single-shot Network Pruning based on Connection Sensitivity, "
        "https://arxiv.org/abs/1810.02340"
    )

    init_sparsity: InitSparsity = Field(0.0, description="sparsity at start_epoch, or __FROM_PARAM__")
    score_type: ScoreType = Field("snip_momentum", description=f"what weights are scored by: {', '.join(CRITERIA)}")
    pruning_scope: Literal["global", "layer", "local"] = Field(
        "global", description="one threshold for all, or each parameter for itself (layer, local)"
    )
    inter_func: Literal["linear", "cubic", "inverse_cubic", "exp", "cos", "cube", "polynomial", "multi_step"] = Field(  # type: ignore[assignment]
        "cubic", description="how sparsity grows; polynomial has a power, multi_step has milestones"
    )
    power: Annotated[float, Field(gt=0)] = Field(3.0, description="of inter_func polynomial: 1 - (1 - t) ** power")
    milestones: list[list[float]] = Field(
        default_factory=list,
        description="of inter_func multi_step: [[share of the span, sparsity from there on], ...]",
    )
    block_reduce: Literal["mean", "sum", "max"] = Field("mean", description="score of a block from its weights'")
    min_layer_sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="least sparsity of a layer")
    max_layer_sparsity: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="most sparsity of a layer")
    progressive: Flag = Field(False, description="whether each update's masks come in four sub-steps, weight by weight")
    on_misfit: OnMisfit = Field(
        "error", description="a named parameter that the pattern does not divide: error|skip|pad"
    )
    group_lasso: Annotated[float, Field(ge=0)] = Field(
        0.0, description="strength of the group lasso that shrinks blocks until end_epoch; times the learning rate"
    )
    exclude: Selectors = Field(
        default_factory=list, description="parameters left out; selectors as in params, patterns may match nothing"
    )
    layer_types: Selectors = Field(
        default_factory=list,
        description="classes that params and tokens are narrowed to, or parts of their names: Linear, Conv, Conv2d",
    )
    prune_task_head: Flag = Field(
        False, description="whether params of none, a token or with layer_types include the task head and pooler"
    )

    @model_validator(mode="after")
    def _bounds_hold(self) -> WeightPruningModifier:
        if self.min_layer_sparsity > self.max_layer_sparsity:
            raise ValueError(
                f"min_layer_sparsity {self.min_layer_sparsity:g} is above max_layer_sparsity {self.max_layer_sparsity:g}"
            )
        if self.group_lasso and parse_pattern(self.mask_type).ratio < 1.0:
            raise ValueError(f"group_lasso needs a mask_type of whole blocks, such as '4x1', not {self.mask_type!r}")
        for final in self._groups():
            if not self.min_layer_sparsity <= final <= self.max_layer_sparsity:
                raise ValueError(
                    f"final_sparsity {final:g} lies outside of what a layer may have: "
                    f"{self.min_layer_sparsity:g} to {self.max_layer_sparsity:g}"
                )
        return self

    @model_validator(mode="after")
    def _shape_is_whole(self) -> WeightPruningModifier:
        given = self.model_fields_set
        for shape, field in (("polynomial", "power"), ("multi_step", "milestones")):
            if field in given and self.inter_func != shape:
                raise ValueError(f"{field} is of inter_func {shape}, not of {self.inter_func}")
        if self.inter_func != "multi_step":
            return self
        final, pairs = self.final_sparsity, self.milestones
        if isinstance(final, dict):
            raise ValueError("milestones are sparsities of all parameters: final_sparsity must be one number")
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError("multi_step needs milestones, a list of pairs such as [[0.3, 0.5], [0.6, 0.8]]")
        shares, values = zip(*pairs, strict=True)
        if list(shares) != sorted(set(shares)) or not 0 <= shares[0] <= shares[-1] < 1:
            raise ValueError(f"shares of the span rise from 0 to below 1, got {list(shares)}")
        if list(values) != sorted(values) or not 0 <= values[0] <= values[-1] <= final:
            raise ValueError(f"the milestones' sparsities rise to final_sparsity {final:g}, got {list(values)}")
        return self

    @property
    def criterion(self) -> str:
        """As ``score_type`` says."""
        return self.score_type

    @property
    def scope(self) -> Scope:
        """As the field says; ``local`` is Neural Compressor's word for ``layer``."""
        return "global" if self.pruning_scope == "global" else "layer"

    @property
    def layer_bounds(self) -> tuple[float, float]:
        """As the fields say."""
        return self.min_layer_sparsity, self.max_layer_sparsity

    @property
    def is_progressive(self) -> bool:
        """As ``progressive`` says."""
        return self.progressive

    @property
    def misfit(self) -> OnMisfit:
        """As ``on_misfit`` says."""
        return self.on_misfit

    @property
    def reduction(self) -> str:
        """As ``block_reduce`` says."""
        return self.block_reduce

    def selected(self, model: nn.Module, selectors: Sequence[str]) -> dict[str, nn.Parameter]:
        """What the selectors name less what ``exclude`` names; of tokens only Linear and Conv weights of the body.

        Raises:
            RecipeError: A selector matches nothing, or ``layer_types`` and ``exclude`` leave nothing.
        """
        chosen = super().selected(model, selectors)
        head = {} if self.prune_task_head else task_head(model)
        kept = {n: weight for n, weight in prunable_parameters(model, self.layer_types).items() if n not in head}
        if not self.layer_types:
            kept |= named_parameters(model, selectors)
        gone = select_parameters(model, self.exclude, patterns_may_miss=True) if self.exclude else {}
        found = {name: weight for name, weight in chosen.items() if name in kept and name not in gone}
        if not found:
            types = f" of layer_types {', '.join(self.layer_types)}" if self.layer_types else ""
            hint = f"params names, among others: {', '.join(list(chosen)[:4])}"
            raise RecipeError(Problem(f"no weight{types} is left to prune", hint=hint))
        return found

    def on_step(self, run: Run) -> None:
        """Shrink blocks, if asked to, and undo what the optimizer did to masked weights."""
        if self.group_lasso and not 0 <= self.end <= run.clock.epoch:
            rates = {id(p): float(group["lr"]) for group in run.optimizer.param_groups for p in group["params"]}
            for name, weight in self._held.parameters.items():
                step = self.group_lasso * rates.get(id(weight), 0.0)
                group_lasso(self.outputs_first(name, weight), self.mask_type, step, self.misfit == "pad")
        super().on_step(run)

    def _at(self, epoch: float, initial: float, final: float) -> float:
        if self.inter_func == "multi_step":
            pairs = [(share, value) for share, value in self.milestones]
            return multi_step(epoch, self.start, self.end, initial, final, pairs)
        return interpolate(epoch, self.start, self.end, initial, final, self.inter_func, self.power)
