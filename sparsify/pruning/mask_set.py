"""Masks held on live parameters: one byte a weight, no copy of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import torch
from torch import Tensor, nn

from sparsify.errors import InputError, SparsifyError, StateError
from sparsify.pruning.order import all_finite
from sparsify.pruning.resize import Cuts

_INTEGER = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes of a weight."""


class MaskSet:
    """Boolean masks by parameter name, and the parameters they are held on.

    A parameter without a mask is left alone; a mask that keeps everything is not stored.

    Args:
        parameters: By name, each parameter once.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        self.masks: dict[str, Tensor] = {}
        self._zeros: dict[str, int] = {}
        self._weights: list[Tensor] = []
        self._factors: list[Tensor] = []

    def replace(self, masks: Mapping[str, Tensor]) -> None:
        """Hold these masks (True = kept, in the parameters' shapes) and no earlier ones; does not apply them."""
        kept = {name: int(torch.count_nonzero(mask)) for name, mask in masks.items()}
        self.masks = {name: mask for name, mask in masks.items() if kept[name] < mask.numel()}
        self._zeros = {name: mask.numel() - kept[name] for name, mask in self.masks.items()}
        self._weights = [self.parameters[name] for name in self.masks]
        # The same bytes read as integers: multiplying by bool costs twice as much.
        self._factors = [mask.view(torch.int8) for mask in self.masks.values()]

    def apply(self) -> None:
        """Zero what is masked, in place."""
        _zero(self._weights, self._factors)

    def resize(self, cuts: Cuts) -> None:
        """Cut the masks of parameters that were cut."""
        masks = dict(self.masks)
        for name, parameter in self.parameters.items():
            for cut in cuts.get(parameter, ()) if name in masks else ():
                masks[name] = cut.of(masks[name])
        self.replace(masks)

    def check_finite(self) -> None:
        """Raise SparsifyError if a parameter holds NaN or infinity: by those no mask can be chosen."""
        bad = [name for name, weight in self.parameters.items() if not all_finite(weight)]
        if bad:
            shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
            raise SparsifyError(
                f"weights that are to be pruned are not finite: {shown}. Training has diverged: "
                "lower the learning rate, or look at the loss of the steps before"
            )

    def sparsity(self) -> dict[str, float]:
        """Fraction masked, by parameter; of one without elements 0."""
        return {name: self._zeros.get(name, 0) / max(weight.numel(), 1) for name, weight in self.parameters.items()}

    def zeros(self) -> int:
        """How many weights are masked."""
        return sum(self._zeros.values())

    def total_sparsity(self) -> float:
        """Fraction masked of all the parameters' weights."""
        return self.zeros() / max(sum(weight.numel() for weight in self.parameters.values()), 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Masks as packed bits (uint8, flat), by parameter name."""
        return {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in self.masks.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Hold the masks that ``state_dict`` gave.

        Raises:
            StateError: A mask belongs to a parameter that is not here, or has another size.
        """
        unknown = sorted(set(state) - set(self.parameters))
        if unknown:
            raise StateError(
                f"saved masks of parameters that are not pruned now: {', '.join(unknown[:5])}; "
                f"pruned now are: {', '.join(sorted(self.parameters)[:5])}"
            )
        self.replace({name: self._unpack(name, bits) for name, bits in state.items()})

    def _unpack(self, name: str, bits: Tensor) -> Tensor:
        weight = self.parameters[name]
        if bits.numel() != -(-weight.numel() // 8):
            raise StateError(f"the saved mask of {name} has {bits.numel()} bytes: not for shape {list(weight.shape)}")
        flat = np.unpackbits(bits.cpu().numpy(), count=weight.numel()).astype(bool)
        return torch.from_numpy(flat).view(weight.shape).to(weight.device)


def zero_masked(tensors: Mapping[str, Tensor], sets: Sequence[MaskSet]) -> None:
    """Zero, in place and exactly, what masks mask in another set of weights, such as an average of the model's.

    Args:
        tensors: By parameter name, of any float type and on any device; those without a mask are left alone.
        sets: The masks.

    Raises:
        InputError: A parameter of ``sets`` is missing, or has another shape; nothing was written then.
    """
    shapes = {name: held.masks.get(name, weight).shape for held in sets for name, weight in held.parameters.items()}
    problems = [problem for name, shape in shapes.items() if (problem := _unlike(name, shape, tensors))]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"the masks do not fit these weights: {'; '.join(problems[:3])}{more}")
    for held in sets:
        weights = [tensors[name] for name in held.masks]
        factors = [mask.to(w.device) for mask, w in zip(held.masks.values(), weights, strict=True)]
        _zero(weights, [factor.view(torch.int8) for factor in factors])


def _unlike(name: str, shape: torch.Size, tensors: Mapping[str, Tensor]) -> str | None:
    if name not in tensors:
        near = get_close_matches(name, tensors, n=1) or list(tensors)[:1]
        return f"{name} is not among them (near: {near[0]})" if near else f"{name} is not among them: there are none"
    if tensors[name].shape == shape:
        return None
    return (
        f"{name} is {list(tensors[name].shape)}, not {list(shape)} (were parts of the model removed? "
        "make the copy anew from the model)"
    )


@torch.no_grad()
def _zero(weights: Sequence[Tensor], factors: Sequence[Tensor]) -> None:
    """Multiply by int8 factors 0 and 1, in place."""
    if weights:
        # Bits times 0 or 1 in one pass: a float product would leave -0.0 (unequal bits for hashing) and NaN.
        torch._foreach_mul_([weight.view(_INTEGER[weight.element_size()]) for weight in weights], list(factors))
