"""Scores kept on live parameters from step to step, by criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsify.errors import StateError
from sparsify.pruning import scores as formulas
from sparsify.pruning.resize import Cuts


@dataclass(frozen=True)
class Criterion:
    """What a score is made of.

    Attributes:
        meaning: One line for documentation.
        term: Score of one step from weight and gradient; None where gradients play no part.
        keep: What a step leaves of the sum before it: 0 looks at the last step only, 1 sums all.
    """

    meaning: str
    term: Callable[[Tensor, Tensor], Tensor] | None = None
    keep: float = 0.0


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion("absolute value of the weight"),
    "gradient": Criterion("absolute gradient of the last step", formulas.gradient),
    "snip": Criterion("|weight * gradient| of the last step", formulas.snip),
    "snip_momentum": Criterion("0.9 of its last value + |weight * gradient|", formulas.snip, formulas.SNIP_DECAY),
    "movement": Criterion("sum of -weight * gradient over the steps", formulas.movement, 1.0),
    "taylor": Criterion("sum of (weight * gradient)^2 over the steps", formulas.taylor, 1.0),
    "random": Criterion("uniform noise, fixed by the parameter's name"),
}
"""Criteria by the name that recipes use."""


class ScoreSet:
    """Scores of one criterion, one float32 a weight where gradients are summed, none otherwise.

    Args:
        parameters: By name, each parameter once.
        criterion: One of ``CRITERIA``.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], criterion: str = "magnitude") -> None:
        self.parameters = dict(parameters)
        self.criterion = criterion
        self._kept: dict[str, Tensor] = {}

    @property
    def ready(self) -> bool:
        """Whether there is a score to prune by: those of gradients need at least one step."""
        return not self.needs_gradients or bool(self._kept)

    @property
    def needs_gradients(self) -> bool:
        """Whether the criterion is about more than the weights."""
        return CRITERIA[self.criterion].term is not None

    @torch.no_grad()
    def observe(self, grad_scale: float = 1.0) -> None:
        """Take in the gradients that the parameters have now; one without a gradient adds nothing.

        Args:
            grad_scale: What a gradient scaler has multiplied them by.
        """
        rule = CRITERIA[self.criterion]
        if rule.term is None:
            return
        for name, weight in self.parameters.items():
            grad = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            term = rule.term(weight, grad if grad_scale == 1.0 else grad / grad_scale)
            before = self._kept.get(name)
            self._kept[name] = term if before is None or not rule.keep else before.mul_(rule.keep).add_(term)

    def scores(self) -> dict[str, Tensor]:
        """Scores by parameter, in the parameters' shapes, the caller's to change; call only when ``ready``."""
        if self.criterion == "magnitude":
            return {name: formulas.magnitude(weight) for name, weight in self.parameters.items()}
        if self.criterion == "random":
            return {name: formulas.random(weight, name) for name, weight in self.parameters.items()}
        return {name: score.clone() for name, score in self._kept.items()}

    def resize(self, cuts: Cuts) -> None:
        """Cut the sums of parameters that were cut."""
        for name, weight in self.parameters.items():
            for cut in cuts.get(weight, ()) if name in self._kept else ():
                self._kept[name] = cut.of(self._kept[name])

    def clear(self) -> None:
        """Forget what was gathered, and free its memory."""
        self._kept = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Sums over past steps, by parameter name."""
        return {name: score.detach().clone() for name, score in self._kept.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from saved sums.

        Raises:
            StateError: They belong to other parameters or shapes.
        """
        expected = {name: weight.shape for name, weight in self.parameters.items()}
        if state and {name: score.shape for name, score in state.items()} != expected:
            odd = sorted(n for n in {*state, *expected} if n not in state or state[n].shape != expected.get(n))
            raise StateError(f"saved pruning scores do not fit the parameters pruned now: {', '.join(odd[:5])}")
        self._kept = {name: state[name].to(weight.device).clone() for name, weight in self.parameters.items() if state}
