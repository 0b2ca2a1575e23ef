"""A recipe as it would run: the steps of each modifier, the timeline, contradictions, the parameters it acts on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from sparsify.analysis.findings import Finding, findings, matched_parameters
from sparsify.clock import Clock
from sparsify.errors import InputError
from sparsify.manager import ModifierManager
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.phases import Phase, settle
from sparsify.plan import Moment, param_groups_of, timeline
from sparsify.recipe.recipe import Recipe

_QUANTIZATION = ("off", "observing", "frozen")
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Plan:
    """What a recipe does in a run of known length.

    Attributes:
        recipe: The recipe.
        modifiers: Its modifiers, in file order.
        steps_per_epoch: Optimizer steps in one epoch.
        epochs: Length of the run.
        matched: Parameters that each modifier acts on, by its key; None where no model was given.
        findings: Contradictions and doubts.
    """

    recipe: Recipe
    modifiers: Sequence[Modifier]
    steps_per_epoch: int
    epochs: int
    matched: dict[str, tuple[str, ...]] | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return self.epochs * self.steps_per_epoch

    @cached_property
    def phases(self) -> list[Phase]:
        """When each modifier starts, is updated and ends, as the run computes it."""
        clock = Clock(self.steps_per_epoch, self.steps)
        return [Phase(modifier, clock) for modifier in self.modifiers]

    @property
    def groups(self) -> int:
        """Param groups that the recipe tells apart."""
        return param_groups_of(self.modifiers)

    def moments(self, steps: Iterable[int] | None = None) -> list[Moment]:
        """The timeline, whole or at some steps."""
        return timeline(self.modifiers, self.steps_per_epoch, self.groups, epochs=self.epochs, steps=steps)

    def sampled(self, count: int) -> list[Moment]:
        """At most about ``count`` moments, evenly spread, with every step at which something starts or ends."""
        stride = max(1, self.steps // count)
        marks = {step for p in self.phases for step in (p.start, p.end) if step is not None and step <= self.steps}
        before = {step - 1 for step in marks if step > 0}
        return self.moments(sorted({*range(0, self.steps, stride), *marks, *before, self.steps}))

    def to_dict(self) -> dict[str, Any]:
        """The whole plan for JSON, with every step of the timeline."""
        paths = {m.key: m.path for m in self.modifiers}
        return {
            "recipe": self.recipe.origin,
            "sha256": self.recipe.sha256,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
            "steps": self.steps,
            "modifiers": [self.entry(phase) for phase in self.phases],
            "timeline": [self._moment(moment, paths) for moment in self.moments()],
            "conflicts": [finding.to_dict() for finding in self.findings],
            "matched": {paths[key]: list(names) for key, names in (self.matched or {}).items()},
        }

    def entry(self, phase: Phase) -> dict[str, Any]:
        """One modifier for JSON: where it stands, its fields, and its steps."""
        modifier = phase.modifier
        return {
            "path": modifier.path,
            "type": type(modifier).__name__,
            "fields": modifier.model_dump(mode="json", by_alias=True, warnings=False),
            "start_step": phase.start,
            "end_step": phase.end,
            "update_steps": sorted(phase.updates) if moves(modifier) else [],
        }

    def _moment(self, moment: Moment, paths: dict[str, str]) -> dict[str, Any]:
        quantization = {m.path: _QUANTIZATION[0] for m in self.modifiers if m.kind == "quantization"}
        for key, values in moment.values.items():
            if "quantization" in values:
                quantization[paths[key]] = _QUANTIZATION[int(values["quantization"])]
        decays = moment.weight_decay
        return {
            "step": moment.step,
            "epoch": moment.epoch,
            "lr": moment.lr,
            "sparsity": sparsity_of(moment, paths),
            "weight_decay": None if all(decay is None for decay in decays) else decays,
            "quantization": quantization,
            "bn_frozen": moment.bn_frozen,
            "distillation": moment.distillation,
        }


def make_plan(
    manager: ModifierManager, steps_per_epoch: int, *, epochs: int | None = None, model: nn.Module | None = None
) -> Plan:
    """Plan a run; nothing is trained, and of a model only its structure is read.

    Args:
        manager: The recipe.
        steps_per_epoch: Optimizer steps in one epoch, after gradient accumulation.
        epochs: Length of the run; what the recipe needs by default.
        model: Finds out which parameters the modifiers act on; may be on the meta device.

    Raises:
        InputError: ``steps_per_epoch`` or ``epochs`` is below 1, times depend on a length that nothing says, or
            the run is longer than anything that is trained.
        RecipeError: Times that depend on the run do not fit it.
    """
    for name, value in (("steps_per_epoch", steps_per_epoch), ("epochs", epochs)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    length = manager.max_epochs if epochs is None else epochs
    if length < 1 and not all(m.settled for m in manager.modifiers):
        raise InputError("times of the recipe depend on the length of the run: say how many epochs it has")
    if length * steps_per_epoch > _MOST_STEPS:
        raise InputError(
            f"the run is too long to plan: {length:.6g} epochs of {steps_per_epoch} steps are more than"
            f" {_MOST_STEPS:,} steps; check end_epoch in the recipe, or plan it with fewer steps per epoch"
        )
    matched, unmatched = (None, []) if model is None else matched_parameters(manager.modifiers, model)
    clock = Clock(steps_per_epoch, length * steps_per_epoch)
    settle(manager.modifiers, clock)
    found = findings(manager.modifiers, clock, matched, unmatched, epochs)
    return Plan(manager.recipe, manager.modifiers, steps_per_epoch, length, matched, found)


def sparsity_of(moment: Moment, paths: dict[str, str]) -> dict[str, float]:
    """Sparsity targets by recipe path; where one modifier has several, their mean and each under its own path."""
    found: dict[str, float] = {}
    for key, values in moment.values.items():
        for name, value in values.items():
            if name == "sparsity":
                found[paths[key]] = value
            elif name.startswith("sparsity/"):
                found[f"{paths[key]}.final_sparsity[{name.removeprefix('sparsity/')}]"] = value
    return found


def moves(modifier: Modifier) -> bool:
    """Whether anything happens when it is updated."""
    return isinstance(modifier, LearningRateBase) or type(modifier).on_update is not Modifier.on_update
