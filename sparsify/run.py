"""One training run under a recipe: counts optimizer steps and calls the modifiers' events at the right ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from sparsify.clock import Clock
from sparsify.errors import InputError, RecipeError, StateError
from sparsify.modifiers.base import Modifier
from sparsify.modifiers.masking import MaskModifier
from sparsify.modifiers.post_training import PostTrainingQuantizationModifier
from sparsify.phases import Phase, fingerprint
from sparsify.pruning.shrink import Shrinkage
from sparsify.rates import LearningRates, check_rates, set_rate

logger = logging.getLogger(__name__)
_STATE_VERSION = 1
_CHANGES = ("pruning", "structure", "quantization")
"""Kinds of modifiers that leave the model another one."""


class TrainingRun:
    """Drives modifiers from torch's own optimizer step hooks. Made by ``ModifierManager.attach`` and ``wrap``.

    Args:
        modifiers: In recipe order, settled; events go by their ``order``.
        model: The model, unwrapped.
        optimizer: The real torch optimizer.
        clock: Steps per epoch and total steps.
        teacher: Distillation teacher.
        set_rates: Whether the run writes learning rates (False: a scheduler driven by the recipe does).
    """

    def __init__(
        self,
        modifiers: Sequence[Modifier],
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        clock: Clock,
        teacher: nn.Module | None = None,
        set_rates: bool = True,
    ) -> None:
        self.model, self.optimizer, self.clock, self.teacher = model, optimizer, clock, teacher
        self.loss_items: int | Tensor | None = None
        self.loss_scale = 1.0
        self.rates = LearningRates(modifiers, clock)
        self.phases = [Phase(m, clock) for m in sorted(modifiers, key=lambda m: m.order)]
        self._set_rates = set_rates and bool(self.rates)
        self._written: list[float | None] | None = None
        self._resumed = False
        self._begun = -1
        self._steppers = [p for p in self.phases if type(p.modifier).on_step is not Modifier.on_step]
        self._readers = [p for p in self.phases if type(p.modifier).on_gradients is not Modifier.on_gradients]
        self._pruners = [m for m in modifiers if isinstance(m, MaskModifier)]
        self._losses = [p for p in self.phases if type(p.modifier).on_loss is not Modifier.on_loss]
        self._handles: list[RemovableHandle] = []
        self._writes = 0
        self.finished = False
        self._superseded = False
        self._unattached = ""

    def open(self) -> None:
        """Resolve parameters and install the hooks; where that fails, the model is left clean."""
        begun: list[Phase] = []
        try:
            for phase in self.phases:
                begun.append(phase)
                self._attach(phase.modifier)
        except BaseException:
            self._detach(begun)
            raise
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
            register_optimizer_step_post_hook(self._after_any_step),
        ]
        self._writes = _writes(self.model)

    def warn_unfinished(self) -> None:
        """Say so if training stopped before the model is what the recipe says, or went past the run's optimizer.

        Nothing where nothing was trained.
        """
        if not self.clock.step and _writes(self.model) != self._writes:
            logger.warning(
                "the weights changed, but the %s that the recipe is attached to took no step, so nothing of the recipe "
                "was carried out: attach it to the optimizer that trains",
                type(self.optimizer).__name__,
            )
        lacks = self.unfinished() if self.clock.step else []
        other = f". Steps of {self._unattached}, which the recipe is not attached to, do not count"
        if lacks:
            logger.warning(
                "training stopped at epoch %.4g of %g, and the model is not yet what the recipe says: %s%s",
                self.clock.epoch,
                self.clock.epoch_of(self.clock.total_steps),
                "; ".join(lacks),
                other if self._unattached else "",
            )

    def close(self) -> None:
        """Remove the hooks and leave the model clean; safe to call twice."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if not self._superseded:
            self._detach(self.phases)

    def supersede(self) -> None:
        """Another run takes the modifiers over: this one leaves its model clean, and refuses to go on."""
        if self._handles and not self._superseded:
            self._detach(self.phases)
            self._superseded = True

    def _attach(self, modifier: Modifier) -> None:
        try:
            modifier.on_attach(self)
        except RecipeError as error:
            raise modifier.located(error) from None

    def _detach(self, phases: Sequence[Phase]) -> None:
        for phase in phases:
            phase.modifier.on_detach(self)

    def begin_step(self) -> None:
        """Fire what is due at the coming optimizer step; called again for the same step it does nothing.

        Weights may change, so it must not be called between a forward and its backward.

        Raises:
            InputError: The modifiers drive another run by now, or somebody else moves the learning rate.
        """
        if self._superseded:
            raise InputError(
                "the recipe has been attached to another training since: load it once for each model (load_recipe)"
            )
        step = self.clock.step
        if self._begun == step or self.finished:
            return
        self._begun = step
        self._fire(step)
        if self._set_rates:
            self._write_rates(step)

    def _fire(self, step: int) -> None:
        # What begins here builds on what ends here: masks held from now on need the last update before.
        self._advance([phase for phase in self.phases if phase.active and phase.ends_by(step)], step)
        self._begin(step)
        self._advance(self.phases, step)

    def _begin(self, step: int) -> None:
        for phase in self.phases:
            if not phase.started and step >= phase.start:
                phase.started = True
                phase.modifier.on_start(self)

    def _advance(self, phases: Sequence[Phase], step: int) -> None:
        for phase in phases:
            if phase.active and step in phase.updates:
                phase.modifier.on_update(self)
        self._end(phases, step)

    def _end(self, phases: Sequence[Phase], step: int) -> None:
        for phase in phases:
            if phase.active and phase.ends_by(step):
                phase.ended = True
                phase.modifier.on_end(self)

    def _write_rates(self, step: int) -> None:
        groups = self.optimizer.param_groups
        check_rates(groups, self._written or (), self._resumed)
        self._resumed = False
        rates = [self.rates.at(step, index) for index in range(len(groups))]
        self._written = [None if rate is None else set_rate(g, rate) for g, rate in zip(groups, rates, strict=True)]

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.begin_step()
        if not self._readers or self._skipped():
            return
        closure = any(callable(given) for given in (*args[1:], *kwargs.values()))
        for phase in self._readers:
            if phase.active or (phase.modifier.early_gradients and not phase.started):
                if closure and phase.modifier.needs_gradients:
                    raise InputError(
                        f"{phase.modifier.key} scores weights by their gradients, which must be there before the "
                        "optimizer steps, and step() was given a closure that computes them: call loss.backward() "
                        "before a plain step(), or prune by magnitude"
                    )
                phase.modifier.on_gradients(self)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._skipped():
            return
        for phase in self._steppers:
            if phase.started:
                phase.modifier.on_step(self)
        self.clock.step += 1
        if self.clock.step >= self.clock.total_steps:
            self.finish()

    def _after_any_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Masks hold whichever optimizer writes to the weights: one made later, or one of other parameters."""
        if optimizer is self.optimizer or self._superseded:
            return
        written = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for pruner in self._pruners:
            if not written.isdisjoint(map(id, pruner.held.parameters.values())):
                self._unattached = type(optimizer).__name__
                pruner.held.apply()

    @property
    def grad_scale(self) -> float:
        """What gradients are still multiplied by: a scaler leaves unscaling to a fused optimizer's step."""
        scale: Tensor | None = getattr(self.optimizer, "grad_scale", None)
        return 1.0 if scale is None else float(scale)

    def _skipped(self) -> bool:
        """A fused optimizer is stepped even when the gradient scaler found inf; it then changes nothing."""
        found: Tensor | None = getattr(self.optimizer, "found_inf", None)
        return found is not None and bool(found.item())

    def finish(self) -> None:
        """End of the run: what has not ended yet ends now, at its final value. Safe to call twice.

        Steps that a gradient scaler skipped leave the clock short of the end; what was due in between is made up.
        """
        if self.finished:
            return
        reached, total = self._begun, self.clock.total_steps
        self._make_up([phase for phase in self.phases if phase.active and phase.ends_by(total)], reached)
        self._begin(total)
        self._make_up(self.phases, reached)
        self.finished = True

    def _make_up(self, phases: Sequence[Phase], reached: int) -> None:
        """The last update of what has one later than step ``reached``, and the end of what ends."""
        total = self.clock.total_steps
        for phase in phases:
            if phase.due_after(reached):
                self.clock.step = total if phase.end is None else phase.end
                phase.modifier.on_update(self)
        self.clock.step = total
        self._end(phases, total)

    def unfinished(self) -> list[str]:
        """What the model lacks where training stops before its end: a line for each part of the recipe not done."""
        if self.finished:
            return []
        return [line for phase in self.phases if (line := self._lacks(phase))]

    def _lacks(self, phase: Phase) -> str | None:
        modifier = phase.modifier
        if modifier.kind not in _CHANGES or isinstance(modifier, PostTrainingQuantizationModifier):
            return None
        if not phase.started:
            return f"{modifier.title} begins at epoch {modifier.start:g}"
        if to_come := modifier.to_come(self.clock, self._begun):
            return f"{modifier.title}: {to_come}"
        if phase.end is not None and phase.due_after(self._begun):
            return f"{modifier.title} ends at epoch {modifier.end:g}"
        return None

    def resized(self, change: Shrinkage) -> None:
        """Tell every modifier that parts of the model were removed."""
        for phase in self.phases:
            phase.modifier.on_resize(self, change)

    def loss(self, loss: Tensor, *, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """The loss to train on: ``loss`` with what active modifiers (distillation) add.

        Args:
            loss: The task's loss (scalar).
            inputs: The batch, labels included.
            outputs: What the model returned for it.
        """
        for phase in self._losses:
            if phase.covers(self.clock.step):
                loss = phase.modifier.on_loss(self, loss, inputs, outputs)
        return loss

    def values(self) -> dict[str, float]:
        """What is in force now, for logs: ``sparsity``, ``quantization``, ... by name."""
        epoch = self.clock.epoch_of(min(self.clock.step, self.clock.total_steps))
        found: dict[str, float] = {"epoch": epoch}
        for phase in self.phases:
            if phase.started:
                for name, value in phase.modifier.values(epoch).items():
                    found[f"{name}/{phase.modifier.key}" if name in found else name] = value
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that a resume needs beside the model's and the optimizer's own state."""
        return {
            "version": _STATE_VERSION,
            "clock": {
                "step": self.clock.step,
                "steps_per_epoch": self.clock.steps_per_epoch,
                "total_steps": self.clock.total_steps,
            },
            "begun": self._begun,
            "finished": self.finished,
            "written": self._written,
            "modifiers": {
                p.modifier.key: {
                    "fields": fingerprint(p.modifier),
                    "started": p.started,
                    "ended": p.ended,
                    "state": p.modifier.state_dict(),
                }
                for p in self.phases
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            StateError: The state is of another recipe, another number of steps per epoch, or another version.
        """
        self._check(state)
        self.clock.step = state["clock"]["step"]
        self._begun, self.finished, self._written = state["begun"], state["finished"], state["written"]
        self._resumed = True
        for phase in self.phases:
            saved = state["modifiers"][phase.modifier.key]
            phase.started, phase.ended = saved["started"], saved["ended"]
            phase.modifier.load_state_dict(saved["state"], self)

    def _check(self, state: Mapping[str, Any]) -> None:
        if state.get("version") != _STATE_VERSION:
            raise StateError(f"saved state has version {state.get('version')}, this sparsify reads {_STATE_VERSION}")
        for name in ("steps_per_epoch", "total_steps"):
            was, now = state["clock"][name], getattr(self.clock, name)
            if was != now:
                raise StateError(
                    f"the saved run had {name} = {was}, this one has {now}: "
                    "resume with the same data, batch size, accumulation and number of epochs"
                )
        saved, mine = state["modifiers"], {p.modifier.key: fingerprint(p.modifier) for p in self.phases}
        gone, new = sorted(set(saved) - set(mine)), sorted(set(mine) - set(saved))
        changed = sorted(k for k in set(mine) & set(saved) if saved[k]["fields"] != mine[k])
        lines = _listed("only in the saved run", gone) + _listed("only in this recipe", new)
        lines += _listed("with other fields", changed)
        if lines:
            raise StateError("the recipe is not the one of the saved run: " + "; ".join(lines))


def _listed(what: str, keys: Iterable[str]) -> list[str]:
    joined = ", ".join(keys)
    return [f"{what}: {joined}"] if joined else []


def _writes(model: nn.Module) -> int:
    """How often parameters were written to: torch counts it for each."""
    return sum(p._version for p in model.parameters() if not p.is_inference())
