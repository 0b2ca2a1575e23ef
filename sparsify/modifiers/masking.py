"""What all pruning modifiers share: parameters chosen from a model, masks held on them, masks in the saved state."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, PrivateAttr
from torch import Tensor, nn

from sparsify.errors import Problem, RecipeError
from sparsify.modifiers.base import Flag, Modifier, Run
from sparsify.pruning.mask_set import MaskSet
from sparsify.pruning.masks import RATIO_SLACK, Scope, compute_masks
from sparsify.pruning.patterns import parse_pattern
from sparsify.pruning.score_set import ScoreSet
from sparsify.pruning.shrink import Shrinkage
from sparsify.select import ALL_PRUNABLE, TOKENS, compiled, inputs_first, select_parameters

logger = logging.getLogger(__name__)


def _flat(value: object) -> object:
    if isinstance(value, list | tuple):
        return [item for part in value for item in (_flat(part) if isinstance(part, list | tuple) else [part])]  # type: ignore[attr-defined]
    return [] if value is None else [value]


def _mask_type(value: object) -> str | list[int]:
    if not isinstance(value, str | list | tuple):
        raise ValueError("a mask type is a name ('unstructured', 'block4', '2:4') or a block [R, C]")
    parse_pattern(value)
    return value if isinstance(value, str) else list(value)


def _compiles(selector: str) -> str:
    if selector.startswith("re:"):
        try:
            compiled(selector)
        except ValueError as error:
            raise ValueError(f"not a regular expression: {error}") from error
    return selector


Selector = Annotated[str, AfterValidator(_compiles)]
"""A name, ``re:PATTERN``, token or class name."""

Selectors = Annotated[list[Selector], BeforeValidator(_flat, json_schema_input_type=str | list[str])]
"""Parameter selectors: one, a list, or nested lists."""

MaskType = Annotated[str | list[int], PlainValidator(_mask_type, json_schema_input_type=str | list[int])]
"""``unstructured``, ``block4``, ``N:M`` or ``[R, C]``."""


OnMisfit = Literal["error", "skip", "pad"]
"""What to do with a named parameter that a pattern does not divide: refuse, leave it out, or shorten the last units."""


class MaskModifier(Modifier):
    """Holds masks on parameters: after each optimizer step what is masked is zero again.

    Tied parameters have one mask. With ``leave_enabled`` off the masks are dropped at ``end_epoch``.
    """

    kind: ClassVar[str] = "pruning"
    moves: ClassVar[bool] = True
    """Whether masks follow a schedule; where not, they hold the zeros that are there."""

    params: Selectors = Field(
        default_factory=list,
        description="parameter names, 're:PATTERN', '__ALL__' or '__ALL_PRUNABLE__' (the same as none)",
    )
    leave_enabled: Flag = Field(True, description="whether masks are held after end_epoch")

    _held: MaskSet = PrivateAttr(default_factory=lambda: MaskSet({}))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters it acts on, once attached."""
        return tuple(self._held.parameters)

    @property
    def held(self) -> MaskSet:
        """The masks that it holds now, and on which parameters."""
        return self._held

    @property
    def mask_sparsity(self) -> dict[str, float]:
        """Fraction of each parameter that is masked now."""
        return self._held.sparsity()

    @property
    def selectors(self) -> tuple[str, ...]:
        """What the recipe names parameters by."""
        return tuple(self.params or [ALL_PRUNABLE])

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters it would prune; see the base class."""
        return tuple(self.model_copy().choose(model))  # choosing leaves traces, which belong to a run

    def choose(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters of ``model`` to act on."""
        return select_parameters(model, self.selectors)

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters.

        Raises:
            RecipeError: A selector matches nothing, or the mask type does not fit a parameter.
        """
        self._held = MaskSet(self.choose(run.model))

    def on_step(self, run: Run) -> None:
        """Undo what momentum, weight decay or rounding did to masked weights."""
        self._held.apply()

    def on_end(self, run: Run) -> None:
        """Drop the masks, unless they are to stay."""
        if not self.leave_enabled:
            self._held.replace({})

    def on_resize(self, run: Run, change: Shrinkage) -> None:
        """Cut the masks."""
        self._held.resize(change.cuts)

    def state_dict(self) -> dict[str, Any]:
        """Masks as packed bits, by parameter."""
        return {"masks": self._held.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Hold the saved masks.

        Raises:
            StateError: They belong to other parameters.
        """
        self._held.load_state_dict(state["masks"])


class PatternModifier(MaskModifier):
    """Computes its masks from scores (magnitudes, unless a subclass says otherwise), in a pattern."""

    mask_type: MaskType = Field(
        "unstructured", description="unstructured, block4, N:M (keeps N of each M), RxC or [R, C]"
    )

    _scores: ScoreSet = PrivateAttr(default_factory=lambda: ScoreSet({}))
    _turned: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def scope(self) -> Scope:
        """Whether each parameter or only all together reach the target."""
        return "layer"

    @property
    def criterion(self) -> str:
        """What weights are scored by: one of ``sparsify.pruning.score_set.CRITERIA``."""
        return "magnitude"

    @property
    def misfit(self) -> OnMisfit:
        """What becomes of a parameter that the recipe names and the pattern does not divide."""
        return "error"

    @property
    def layer_bounds(self) -> tuple[float, float]:
        """Least and most sparsity of a layer."""
        return 0.0, 1.0

    @property
    def reduction(self) -> str:
        """How a block's score is made of its weights'."""
        return "mean"

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters; see the base class."""
        super().on_attach(run)
        self._turned = frozenset(inputs_first(run.model)) & self._held.parameters.keys()
        self._scores = ScoreSet(self._held.parameters, self.criterion)

    def on_resize(self, run: Run, change: Shrinkage) -> None:
        """Cut masks and scores."""
        super().on_resize(run, change)
        self._scores.resize(change.cuts)

    def choose(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters to act on, of those that the pattern fits."""
        return self.fitting(model, self.params or [ALL_PRUNABLE])

    def fitting(self, model: nn.Module, selectors: Sequence[str]) -> dict[str, nn.Parameter]:
        """Selected parameters that the mask type divides; what only a token selected is left out and logged.

        Raises:
            RecipeError: It does not divide a parameter that the recipe names, or none is left.
        """
        pattern = parse_pattern(self.mask_type, self.misfit == "pad")
        chosen, turned = self.selected(model, selectors), inputs_first(model)
        shapes = {name: p.shape[::-1] if name in turned else p.shape for name, p in chosen.items()}
        reasons = {name: reason for name, shape in shapes.items() if (reason := pattern.misfit(shape))}
        named = named_parameters(model, selectors) if self.misfit != "skip" else {}
        problems = [Problem(f"mask_type does not fit {n}: {r}") for n, r in reasons.items() if n in named]
        if problems or len(reasons) == len(chosen):
            raise RecipeError(problems or f"mask_type {self.mask_type} fits none of {', '.join(list(reasons)[:5])}")
        if reasons:
            logger.warning("%s leaves out, as %s does not fit: %s", self.key, self.mask_type, ", ".join(reasons))
        return {name: parameter for name, parameter in chosen.items() if name not in reasons}

    def selected(self, model: nn.Module, selectors: Sequence[str]) -> dict[str, nn.Parameter]:
        """Parameters that the selectors name, whether the pattern fits or not."""
        return select_parameters(model, selectors)

    def prune(self, targets: Mapping[str, float]) -> None:
        """Mask the lowest scores up to the targets, and zero those weights; what is masked stays masked."""
        self._held.check_finite()
        self._held.replace(self.masks_for(targets))
        self._held.apply()

    def masks_for(self, targets: Mapping[str, float]) -> dict[str, Tensor]:
        """Masks for these sparsities by parameter, given the scores and what is masked now."""
        least, most = self.layer_bounds
        masks = compute_masks(
            {name: self.outputs_first(name, score) for name, score in self._scores.scores().items()},
            targets,
            self.mask_type,
            self.scope,
            self.reduction,
            min(least, *targets.values()),  # a schedule that is still below it
            most,
            pad=self.misfit == "pad",
            held={name: self.outputs_first(name, mask) for name, mask in self._held.masks.items()},
            overwrite=True,
        )
        return {name: self.outputs_first(name, mask).contiguous() for name, mask in masks.items()}

    def outputs_first(self, name: str, tensor: Tensor) -> Tensor:
        """A parameter's tensor as patterns see it, [out, ...], or back: a view."""
        return tensor.T if name in self._turned else tensor

    def schedule_epoch(self, run: Run) -> float:
        """Where in its schedule an update stands: the last one of the run is at the end, whatever the rounding."""
        last = min(run.clock.step_of(self.end), run.clock.total_steps)
        return self.end if run.clock.step >= last else run.clock.epoch


def named_parameters(model: nn.Module, selectors: Sequence[str]) -> dict[str, nn.Parameter]:
    """Parameters that a recipe names, by name or pattern, and not only by a token such as ``__ALL_PRUNABLE__``."""
    explicit = [selector for selector in selectors if selector.upper() not in TOKENS]
    return select_parameters(model, explicit) if explicit else {}


def check_ratio(mask_type: str | list[int], field: str, sparsity: float) -> None:
    """Refuse a final sparsity that an N:M mask cannot have.

    Raises:
        ValueError: Says which one it has.
    """
    ratio = parse_pattern(mask_type).ratio
    if ratio < 1.0 and abs(sparsity - ratio) > RATIO_SLACK:
        raise ValueError(f"mask_type {mask_type} gives exactly {ratio:g} zeros: {field} must be that, got {sparsity:g}")
