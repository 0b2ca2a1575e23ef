"""Gradual pruning by scores that gradients take part in, and with all of Neural Compressor's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, model_validator
from torch import nn

from sparsify.errors import SparsifyError
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import Selectors, named_parameters
from sparsify.modifiers.pruning import GradualPruning, InitSparsity
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import Scope
from sparsify.pruning.score_set import CRITERIA
from sparsify.select import prunable_parameters, select_parameters, task_head


def _criterion(value: object) -> str:
    if isinstance(value, str) and value.lower() in CRITERIA:
        return value.lower()
    raise ValueError(f"a score is one of {', '.join(CRITERIA)}")


ScoreType = Annotated[str, PlainValidator(_criterion, json_schema_input_type=Literal[tuple(CRITERIA)])]
"""A name of ``CRITERIA``."""


class ScoredPruning(GradualPruning):
    """Gradual pruning by a score that may need gradients: it gathers them from the first step of the run on.

    An update before any gradient was seen is left out; the last one then is an error, never a silent dense model.
    """

    early_gradients: ClassVar[bool] = True

    def on_gradients(self, run: Run) -> None:
        """Add this step's gradients to the scores."""
        self._scores.observe(run.grad_scale)

    def on_update(self, run: Run) -> None:
        """Prune to the schedule's sparsity.

        Raises:
            SparsifyError: The last update has come, and no step has shown a gradient.
        """
        if self._scores.ready:
            super().on_update(run)
        elif self.schedule_epoch(run) >= self.end:
            raise SparsifyError(
                f"{self.key} scores by {self.criterion}, which needs gradients, and no training step came before its "
                "end: train, or prune by magnitude"
            )

    def on_end(self, run: Run) -> None:
        """Forget the scores, and drop the masks unless they are to stay."""
        super().on_end(run)
        self._scores.clear()

    def state_dict(self) -> dict[str, Any]:
        """Masks, first sparsities and scores."""
        return super().state_dict() | {"scores": self._scores.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back masks, first sparsities and scores."""
        super().load_state_dict(state, run)
        self._scores.load_state_dict(state["scores"])


@register("MovementPruningModifier")
class MovementPruningModifier(ScoredPruning):
    """Gradual movement pruning, per parameter: what moves towards zero goes (Sanh et al. 2020)."""

    @property
    def criterion(self) -> str:
        """Always movement."""
        return "movement"


@register("WeightPruningModifier")
class WeightPruningModifier(ScoredPruning):
    """Gradual pruning with every choice free: score, pattern, scope, bounds per layer, schedule.

    The family of Neural Compressor's ``WeightPruningConfig`` with its defaults for score, scope and bounds. Without
    ``params``: the weights of Linear and Conv modules, but for a Hugging Face model's task head and pooler.
    """

    init_sparsity: InitSparsity = Field(0.0, description="sparsity at start_epoch, or __FROM_PARAM__")
    score_type: ScoreType = Field("snip_momentum", description=f"what weights are scored by: {', '.join(CRITERIA)}")
    pruning_scope: Literal["global", "layer", "local"] = Field(
        "global", description="one threshold for all, or each parameter for itself (layer, local)"
    )
    block_reduce: Literal["mean", "sum", "max"] = Field("mean", description="score of a block from its weights'")
    min_layer_sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="least sparsity of a layer")
    max_layer_sparsity: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="most sparsity of a layer")
    exclude: Selectors = Field(default_factory=list, description="parameters left out; selectors as in params")
    prune_task_head: Flag = Field(
        False, description="whether params of none or a token include the task head and pooler"
    )

    @model_validator(mode="after")
    def _bounds_hold(self) -> WeightPruningModifier:
        if self.min_layer_sparsity > self.max_layer_sparsity:
            raise ValueError(
                f"min_layer_sparsity {self.min_layer_sparsity:g} is above max_layer_sparsity {self.max_layer_sparsity:g}"
            )
        for final in self._groups():
            if not self.min_layer_sparsity <= final <= self.max_layer_sparsity:
                raise ValueError(
                    f"final_sparsity {final:g} lies outside of what a layer may have: "
                    f"{self.min_layer_sparsity:g} to {self.max_layer_sparsity:g}"
                )
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
    def reduction(self) -> str:
        """As ``block_reduce`` says."""
        return self.block_reduce

    def selected(self, model: nn.Module, selectors: Sequence[str]) -> dict[str, nn.Parameter]:
        """What the selectors name less what ``exclude`` names; of tokens only Linear and Conv weights of the body."""
        chosen = super().selected(model, selectors)
        kept = prunable_parameters(model)
        if not self.prune_task_head:
            kept = {name: weight for name, weight in kept.items() if name not in task_head(model)}
        kept |= named_parameters(model, selectors)
        gone = select_parameters(model, self.exclude) if self.exclude else {}
        return {name: weight for name, weight in chosen.items() if name in kept and name not in gone}
