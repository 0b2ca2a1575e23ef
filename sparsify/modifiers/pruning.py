"""Magnitude pruning: masks that grow along a schedule, and masks of what is zero already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, PlainValidator, PrivateAttr, field_validator, model_validator
from torch import Tensor, nn

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import MaskModifier, MaskType, PatternModifier, check_ratio
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import RATIO_SLACK, Scope
from sparsify.pruning.patterns import parse_pattern
from sparsify.pruning.schedules import interpolate

FROM_PARAM = "__FROM_PARAM__"
_INTERPOLATED = ("linear", "cubic")
_SCHEDULERS = ("polynomial_decay", "polynomial", "multi_step")
_EPS = 1e-6  # epochs: the clock starts a phase this early rather than a step late


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _initial(value: object) -> float | str:
    number = _number(value)
    if number is not None and 0.0 <= number < 1.0:
        return number
    if value == FROM_PARAM:
        return FROM_PARAM
    raise ValueError(f"a number from 0 to below 1, or '{FROM_PARAM}' for what each parameter has at the start")


def _open_fraction(value: object) -> float:
    number = _number(value)
    if number is None or not 0.0 < number < 1.0:
        raise ValueError("a sparsity lies between 0 and 1, both excluded: 0.9 for 90% zeros")
    return number


def _final(value: object) -> float | dict[float, list[str]]:
    if not isinstance(value, Mapping):
        return _open_fraction(value)
    groups: dict[float, list[str]] = {}
    for key, selectors in value.items():
        names = [selectors] if isinstance(selectors, str) else selectors
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise ValueError(f"each sparsity maps to a list of parameter selectors, {key!r} has {selectors!r}")
        number = _parsed(key)
        if number is None or not 0.0 < number < 1.0:
            raise ValueError(f"{key!r} is no sparsity between 0 and 1, both excluded")
        groups[number] = list(names)
    if not groups:
        raise ValueError("give a sparsity, or a mapping of sparsities to lists of parameter selectors")
    return groups


def _parsed(key: object) -> float | None:
    """A key as a number; JSON and overrides have only text as keys."""
    try:
        return float(key) if isinstance(key, str) else _number(key)
    except ValueError:
        return None


InitSparsity = Annotated[float | str, PlainValidator(_initial, json_schema_input_type=float | str)]
FinalSparsity = Annotated[
    float | dict[float, list[str]], PlainValidator(_final, json_schema_input_type=float | dict[float, list[str]])
]


@register("ConstantPruningModifier")
class ConstantPruningModifier(MaskModifier):
    """Keeps what is zero at ``start_epoch`` zero.

    Unless ``leave_enabled``, until ``end_epoch`` (-1: for ever). ``update_frequency`` is accepted and has no meaning.
    """

    paper: ClassVar[str] = (
        "Zafrir et al. 2021, Prune Once for All: Sparse Pre-Trained Language Models, https://arxiv.org/abs/2111.05754"
    )

    moves: ClassVar[bool] = False

    leave_enabled: Flag = Field(False, description="whether masks are held after end_epoch")

    def update_steps(self, clock: Clock) -> list[int]:
        """None: the masks are those of the start."""
        return []

    def values(self, epoch: float) -> dict[str, float]:
        """Sparsity that is held, once it is known."""
        return {"sparsity": self._held.total_sparsity()} if self._held.masks else {}

    def on_start(self, run: Run) -> None:
        """Mask the zeros."""
        self._held.check_finite()
        self._held.replace({name: weight.detach() != 0 for name, weight in self._held.parameters.items()})


class GradualPruning(PatternModifier):
    """Masks of the smallest weights, from ``init_sparsity`` at ``start_epoch`` to ``final_sparsity`` at ``end_epoch``.

    Masks are computed anew every ``update_frequency`` epochs; what was masked stays masked while sparsity grows. The
    last update comes even where ``end_epoch`` is the end of the run, and reaches ``final_sparsity`` exactly.
    """

    paper: ClassVar[str] = (
        "Zhu and Gupta 2017, To prune, or not to prune: exploring the efficacy of pruning for model compression, "
        "https://arxiv.org/abs/1710.01878"
    )
    example: ClassVar[Mapping[str, Any]] = {"update_frequency": 0.1}

    init_sparsity: InitSparsity = Field(description="sparsity at start_epoch, or __FROM_PARAM__")
    final_sparsity: FinalSparsity = Field(description="sparsity at end_epoch, or {sparsity: [selectors], ...}")
    start_epoch: float
    end_epoch: float
    inter_func: Literal["linear", "cubic", "inverse_cubic", "exp", "cos", "cube"] = Field(
        "cubic", description="how sparsity grows"
    )

    _from: dict[str, float] = PrivateAttr(default_factory=dict)
    _to: dict[str, float] = PrivateAttr(default_factory=dict)

    @field_validator("end_epoch")
    @classmethod
    def _ends(cls, value: float) -> float:
        if value == -1:
            raise ValueError("final_sparsity is reached at end_epoch, so it cannot be -1 (never)")
        return value

    @model_validator(mode="after")
    def _fields_agree(self) -> GradualPruning:
        if isinstance(self.final_sparsity, dict):
            if self.params:
                raise ValueError("final_sparsity names the parameters of each sparsity: params must be left out or []")
            if self.scope == "global":
                raise ValueError("global pruning has one sparsity for all: final_sparsity must be a number")
        for final in self._groups():
            check_ratio(self.mask_type, "final_sparsity", final)
        most = parse_pattern(self.mask_type).ratio
        if isinstance(self.init_sparsity, float) and self.init_sparsity > most + RATIO_SLACK:
            raise ValueError(f"mask_type {self.mask_type} allows {most:g} zeros, init_sparsity {self.init_sparsity:g}")
        return self

    def _groups(self) -> dict[float, list[str]]:
        return self.final_sparsity if isinstance(self.final_sparsity, dict) else {self.final_sparsity: self.params}

    @property
    def selectors(self) -> tuple[str, ...]:
        """What the recipe names parameters by, in all groups."""
        named = tuple(selector for group in self._groups().values() for selector in group)
        return named or super().selectors

    def choose(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters to prune, each in one group."""
        if not isinstance(self.final_sparsity, dict):
            chosen = super().choose(model)
            self._to = dict.fromkeys(chosen, self.final_sparsity)
            return chosen
        chosen, self._to = {}, {}
        for final, selectors in self.final_sparsity.items():
            for name, parameter in self.fitting(model, selectors).items():
                if name in self._to:
                    raise RecipeError(f"final_sparsity gives {name} two values: {self._to[name]:g} and {final:g}")
                chosen[name], self._to[name] = parameter, final
        return chosen

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters; see the base class."""
        self._from = {}
        super().on_attach(run)

    def on_start(self, run: Run) -> None:
        """Note where each parameter's sparsity begins."""
        self._from = {
            name: self.init_sparsity if isinstance(self.init_sparsity, float) else _zero_share(weight)
            for name, weight in self._held.parameters.items()
        }

    def on_update(self, run: Run) -> None:
        """Prune to the schedule's sparsity."""
        epoch = self.schedule_epoch(run)
        self.prune({name: self._at(epoch, self._from[name], final) for name, final in self._to.items()})

    def _at(self, epoch: float, initial: float, final: float) -> float:
        return interpolate(epoch, self.start, self.end, initial, final, self.inter_func)

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity``: the schedule's target; nothing before the start.

        With several finals also ``sparsity/FINAL`` for each; ``sparsity`` is then their mean, each counting as many
        times as it has weights once attached, and once before. The start of ``__FROM_PARAM__`` counts as 0 until known.
        """
        if epoch < self.start - _EPS or (not self.leave_enabled and epoch > self.end + _EPS):
            return {}
        sizes = {final: self._sizes(final) for final in self._groups()}
        found = {final: self._at(epoch, self._initial(own), final) for final, own in sizes.items()}
        if len(found) == 1:
            return {"sparsity": next(iter(found.values()))}
        totals = {final: sum(own.values()) or 1 for final, own in sizes.items()}
        mean = sum(found[final] * total for final, total in totals.items()) / sum(totals.values())
        return {"sparsity": mean} | {f"sparsity/{final:g}": value for final, value in found.items()}

    def _sizes(self, final: float) -> dict[str, int]:
        """Weights of each parameter of a group; empty before it is attached."""
        return {n: p.numel() for n, p in self._held.parameters.items() if self._to.get(n) == final}

    def _initial(self, sizes: Mapping[str, int]) -> float:
        if isinstance(self.init_sparsity, float):
            return self.init_sparsity
        return sum(self._from.get(name, 0.0) * size for name, size in sizes.items()) / max(sum(sizes.values()), 1)

    def state_dict(self) -> dict[str, Any]:
        """Masks, and the sparsities that the schedule began at."""
        return super().state_dict() | {"from": dict(self._from)}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back masks and first sparsities."""
        super().load_state_dict(state, run)
        self._from = dict(state["from"])


def _zero_share(weight: Tensor) -> float:
    return float((weight == 0).float().mean()) if weight.numel() else 0.0


class MagnitudeOnly(GradualPruning):
    """Takes the fields that once chose another method, with the one value that is left to them."""

    phased: Flag = Field(False, description="only false: alternating phases are ACDCPruningModifier's")
    score_type: str = Field("magnitude", description="only magnitude")

    @field_validator("phased")
    @classmethod
    def _not_phased(cls, value: bool) -> bool:
        if value:
            raise ValueError("dense and sparse phases in turn are what ACDCPruningModifier does: use it")
        return value

    @field_validator("score_type")
    @classmethod
    def _magnitude(cls, value: str) -> str:
        if value.lower() != "magnitude":
            raise ValueError("this modifier scores by 'magnitude' only; another score has a modifier of its own")
        return value


@register("MagnitudePruningModifier")
class MagnitudePruningModifier(MagnitudeOnly):
    """Gradual magnitude pruning, each parameter to the same sparsity (Zhu and Gupta 2017).

    Recipes in dict style have names of their own: ``update_scheduler`` for ``inter_func``, ``mask_structure`` for
    ``mask_type``, and ``apply_globally`` for what GlobalMagnitudePruningModifier does.
    """

    mask_type: MaskType = Field(
        "unstructured",
        description="unstructured, block4, N:M (keeps N of each M), RxC or [R, C]",
        validation_alias=AliasChoices("mask_type", "mask_structure"),
    )
    update_scheduler: str | None = Field(None, description="linear or cubic, as inter_func")
    scheduler_args: dict[str, Any] | None = Field(None, description="arguments of schedulers that have some")
    apply_globally: Flag = Field(False, description="one threshold for all parameters")

    @field_validator("update_scheduler")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value not in (None, *_INTERPOLATED, *_SCHEDULERS) and not re.fullmatch(r"calc\(.+\)", str(value)):
            raise ValueError(f"{', '.join((*_INTERPOLATED, *_SCHEDULERS))} or calc(...)")
        return value

    @model_validator(mode="after")
    def _one_schedule(self) -> MagnitudePruningModifier:
        if self.update_scheduler is not None and "inter_func" in self.model_fields_set:
            raise ValueError("update_scheduler and inter_func both say how sparsity grows: give one of them")
        if self.update_scheduler in _INTERPOLATED:
            self.inter_func = self.update_scheduler  # type: ignore[assignment]
        return self

    @property
    def unavailable(self) -> str | None:
        """A scheduler that is not built."""
        known = self.update_scheduler in (None, *_INTERPOLATED)
        return None if known else f"MagnitudePruningModifier with update_scheduler {self.update_scheduler}"

    @property
    def scope(self) -> Scope:
        """As ``apply_globally`` says."""
        return "global" if self.apply_globally else "layer"


@register("GlobalMagnitudePruningModifier")
class GlobalMagnitudePruningModifier(MagnitudeOnly):
    """Gradual magnitude pruning with one threshold over all parameters: together they reach the sparsity."""

    @property
    def scope(self) -> Scope:
        """All parameters together."""
        return "global"


@register("GMPruningModifier", "LegacyPruningModifier")
class GMPruningModifier(MagnitudeOnly):
    """Gradual magnitude pruning, per parameter, or over all of them with ``global_sparsity``."""

    global_sparsity: Flag = Field(False, description="one threshold for all, as GlobalMagnitudePruningModifier")

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"
