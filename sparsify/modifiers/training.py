"""Modifiers of training itself: how long, which weight decay, which parameters learn. Learning rates: learning_rate.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr
from torch import nn

from sparsify.distributed import several_ranks
from sparsify.errors import InputError, RecipeError, StateError
from sparsify.modifiers.base import Flag, Modifier, Run, SetOnce, reached
from sparsify.modifiers.freezing import claim, drop_gradient, learns, release
from sparsify.modifiers.registry import register
from sparsify.select import select_parameters

log = logging.getLogger(__name__)


@register("EpochRangeModifier")
class EpochRangeModifier(Modifier):
    """Says how long the run must last, and does nothing else."""

    example: ClassVar[Mapping[str, Any]] = {"end_epoch": 3.0}

    start_epoch: float
    end_epoch: float


@register("SetWeightDecayModifier")
class SetWeightDecayModifier(SetOnce):
    """Sets the optimizer's weight decay from ``start_epoch`` on.

    It stays set: it is a value of the optimizer's own param groups, so the optimizer's state dict carries it
    through a resume, and nothing is put back when the run ends.
    """

    example: ClassVar[Mapping[str, Any]] = {"start_epoch": 1.0}

    weight_decay: float = Field(ge=0, allow_inf_nan=False, description="a number of at least 0")
    param_groups: list[int] | None = Field(None, description="indices of the optimizer's param groups; left out: all")
    constant_logging: Flag = Field(False, description="accepted; nothing is logged by it")

    def values(self, epoch: float) -> dict[str, float]:
        """The weight decay, once set."""
        return {"weight_decay": self.weight_decay} if reached(epoch, self.start) else {}

    def on_attach(self, run: Run) -> None:
        """Check the param groups.

        Raises:
            RecipeError: The optimizer has fewer param groups than are asked for.
        """
        check_param_groups(self.key, self.param_groups, len(run.optimizer.param_groups))

    def on_start(self, run: Run) -> None:
        """Set it."""
        groups = run.optimizer.param_groups
        for group in groups if self.param_groups is None else [groups[i] for i in self.param_groups]:
            group["weight_decay"] = self.weight_decay


@register("TrainableParamsModifier")
class TrainableParamsModifier(Modifier):
    """Freezes parameters, or lets them learn, between its epochs; afterwards each is what it was before.

    Where several switch one parameter at a time, the one that began last is heard.
    Gradients of what it switches are cleared at the start, so that not even the step it starts on moves a frozen one. In a
    process group gradients of frozen parameters are still computed, as zeros: the ranks' averaging waits for them.
    """

    example: ClassVar[Mapping[str, Any]] = {"params": ["re:.*embeddings.*"], "trainable": False, "end_epoch": 1.0}

    params: list[str] | str = Field(description="names, `re:` patterns, `__ALL__` or `__ALL_PRUNABLE__`")
    trainable: Flag = Field(description="true or false")
    params_strict: Flag = Field(True, description="false: selectors that match nothing are passed over")

    _params: dict[str, nn.Parameter] = PrivateAttr(default_factory=dict)
    _before: dict[str, bool] = PrivateAttr(default_factory=dict)
    _owner: object = PrivateAttr(default_factory=object)

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters it would switch; see the base class."""
        return tuple(self._selected(model))

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters.

        Raises:
            RecipeError: A selector matches nothing (unless ``params_strict`` is off), or all would be frozen.
            InputError: With several ranks, it would let a parameter learn whose gradients they do not average.
        """
        self._params = self._selected(run.model)
        if self.trainable and several_ranks():
            self._check_averaged()
        chosen = {id(p) for p in self._params.values()}
        if not self.trainable and not any(p.requires_grad and id(p) not in chosen for p in run.model.parameters()):
            raise RecipeError(f"{self.key}: params {self.params!r} would freeze every parameter, leaving none to train")
        held = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
        if outside := [name for name, p in self._params.items() if self.trainable and id(p) not in held]:
            log.warning("%s: the optimizer does not hold %s, so they will not learn", self.key, ", ".join(outside))

    def _check_averaged(self) -> None:
        if frozen := [name for name, p in self._params.items() if not p.requires_grad]:
            raise InputError(
                f"{self.key} would let {', '.join(frozen[:5])} learn, frozen when the model was wrapped for several ranks, "
                "which then average no gradient of it: leave requires_grad on, and freeze it until then with a "
                "TrainableParamsModifier of trainable: false"
            )

    def _selected(self, model: nn.Module) -> dict[str, nn.Parameter]:
        if self.params_strict:
            return select_parameters(model, self.params)
        return select_leniently(model, self.params, self.key)

    def on_start(self, run: Run) -> None:
        """Switch."""
        if self._before:
            return
        for name, parameter in self._params.items():
            self._before[name] = claim(parameter, self._owner, self.trainable, self.start)
            parameter.grad = None

    def on_gradients(self, run: Run) -> None:
        """Leave the optimizer no gradient of what is frozen."""
        for parameter in self._params.values():
            drop_gradient(parameter)

    def on_end(self, run: Run) -> None:
        """Switch back."""
        for name in self._before:
            release(self._params[name], self._owner)
        self._before = {}

    def on_detach(self, run: Run) -> None:
        """Leave the model as it was found."""
        self.on_end(run)

    def state_dict(self) -> dict[str, Any]:
        """While active: what each parameter was before any modifier switched it, and is now."""
        return {"before": dict(self._before), "now": {n: learns(self._params[n]) for n in self._before}}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Freeze again what was frozen.

        Raises:
            StateError: The state names a parameter that this modifier does not select.
        """
        if unknown := sorted(set(state["before"]) - set(self._params)):
            raise StateError(f"{self.key}: the saved state is of other parameters: {', '.join(unknown)}")
        self._before = dict(state["before"])
        for name, before in self._before.items():
            claim(self._params[name], self._owner, self.trainable, self.start, before)


def select_leniently(model: nn.Module, selectors: Sequence[str] | str, key: str) -> dict[str, nn.Parameter]:
    """Parameters that any of the selectors names; one that matches nothing is logged and passed over."""
    found: dict[str, nn.Parameter] = {}
    for selector in [selectors] if isinstance(selectors, str) else selectors:
        try:
            found |= select_parameters(model, [selector])
        except RecipeError:
            log.info("%s: %r matches no parameter", key, selector)
    return found


def check_param_groups(key: str, wanted: Sequence[int] | None, count: int) -> None:
    """Refuse indices of param groups that the optimizer lacks.

    Raises:
        RecipeError: Names them, and how many there are.
    """
    if missing := [i for i in wanted or () if not 0 <= i < count]:
        raise RecipeError(f"{key}: param_groups {missing} do not exist: the optimizer has {count}, counted from 0")
