"""Parameters that are spared weight decay, in whatever group of the optimizer they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class WithoutDecay:
    """Takes parameters out of weight decay for the length of one optimizer step.

    Between steps the optimizer's groups are as its maker left them: its checkpoints fit an optimizer that was just made,
    and schedulers find the groups that they know. A parameter that is in no group joins the first.

    Args:
        parameters: The parameters.
        optimizer: The optimizer that trains them.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._changed: list[tuple[dict[str, Any], list[nn.Parameter]]] = []
        found = list(parameters)
        self._found, self._ids = found, {id(p) for p in found}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        optimizer.param_groups[0]["params"] += [p for p in found if id(p) not in held]

    def forget(self) -> None:
        """Begin anew: moments that the optimizer has gathered while nothing was learned would only speed the start."""
        for parameter in self._found:
            self._optimizer.state.pop(parameter, None)

    def begin(self) -> None:
        """Just before the optimizer's step: give the parameters groups of their own, without decay."""
        self.end()
        groups = self._optimizer.param_groups
        for group in [g for g in groups if g.get("weight_decay")]:
            mine = [p for p in group["params"] if id(p) in self._ids]
            if mine:
                self._changed.append((group, group["params"]))
                group["params"] = [p for p in group["params"] if id(p) not in self._ids]
                groups.append({**group, "params": mine, "weight_decay": 0.0})

    def end(self) -> None:
        """Just after it: put the groups back. Safe to call twice."""
        groups = self._optimizer.param_groups
        del groups[len(groups) - len(self._changed) :]
        for group, params in self._changed:
            group["params"] = params
        self._changed = []
