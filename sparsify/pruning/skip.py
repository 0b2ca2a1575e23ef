"""Whole layers taken out of a model: what comes in goes out."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.quantization.layers import adopt_inputs
from sparsify.select import clean_name


class Skipped(nn.Module):
    """Stands where a layer was, under its name, so that other layers keep theirs.

    Args:
        layer: The layer that it takes the place of; nothing of it is kept.

    Raises:
        InputError: What goes in cannot be what comes out.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.replaces = type(layer).__name__
        self._input = _first(layer)
        self._others = _others(layer)
        _check_width(layer)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The first input, in a tuple with None for all else where the layer returned one."""
        value: Tensor = args[0] if args else kwargs[self._input]
        return value if self._others is None else (value, *[None] * self._others)

    def extra_repr(self) -> str:
        """What was here."""
        return self.replaces


def skipped(model: nn.Module) -> dict[str, Skipped]:
    """Layers that were taken out of ``model``, by name."""
    return {clean_name(name): module for name, module in model.named_modules() if isinstance(module, Skipped)}


def skip(model: nn.Module, layers: Sequence[nn.Module]) -> None:
    """Take ``layers`` out of ``model``, wherever each stands in it; quantizers that others share with them stay.

    Raises:
        InputError: One of them cannot be left out; the model is then as it was.
    """
    stands_in = {id(layer): Skipped(layer) for layer in layers if not isinstance(layer, Skipped)}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in stands_in:
                setattr(parent, name, stands_in[id(child)])
    adopt_inputs(model)


def _first(layer: nn.Module) -> str:
    names = list(inspect.signature(layer.forward).parameters)
    if not names:
        raise InputError(f"{type(layer).__name__} takes no input: it cannot be left out")
    return names[0]


def _others(layer: nn.Module) -> int | None:
    """How many values a layer returns after its hidden states; None: it returns these alone, not in a tuple."""
    if isinstance(layer, nn.Sequential) and len(layer):
        return _others(layer[-1])
    returned = _annotation(layer)
    if isinstance(returned, type) and issubclass(returned, Tensor):
        return None
    if typing.get_origin(returned) is tuple:
        return len([part for part in typing.get_args(returned) if part is not Ellipsis]) - 1
    raise InputError(
        f"{type(layer).__name__} does not say what its forward returns (a tensor, or a tuple of so many), so it "
        "cannot be left out: annotate it, or choose other layers"
    )


def _annotation(layer: nn.Module) -> Any:
    forward = type(layer).forward
    try:
        return typing.get_type_hints(forward).get("return")
    except (NameError, TypeError):  # another of its annotations has a name that is imported for type checkers only
        text = getattr(forward, "__annotations__", {}).get("return")
        return torch.Tensor if str(text) in ("Tensor", "torch.Tensor") else text


def _check_width(layer: nn.Module) -> None:
    for inner, outer in (("in_features", "out_features"), ("in_channels", "out_channels")):
        before, after = getattr(layer, inner, None), getattr(layer, outer, None)
        if before != after:
            raise InputError(f"{type(layer).__name__} turns {before} {inner[3:]} into {after}: it cannot be left out")
