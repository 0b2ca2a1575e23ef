"""Widths of a shrunk transformers model in its config: as its own fields where the class allows it, else beside them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from sparsify.pruning.slots import Structure
from sparsify.pruning.structures import find_structures

WIDTHS_KEY = "sparsify_widths"
_NEURONS = ("intermediate_size", "hidden_dim")
_HEADS = ("num_attention_heads", "n_heads")
_HEAD_SIZE = ("attention_head_size", "head_dim")
_BUILD_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, NotImplementedError)


def read_widths(config: Any) -> dict[str, int]:
    """Widths that a config holds beside its own fields, by structure; empty for a model of the usual shape."""
    widths = getattr(config, WIDTHS_KEY, None)
    return {str(name): int(width) for name, width in widths.items()} if isinstance(widths, Mapping) else {}


def write_widths(model: nn.Module) -> None:
    """Make the config describe the model as it is now; a model without config is left alone.

    Where all layers have one width and the class reads it from a field, the field is set: plain transformers then
    loads the model. What fields cannot say is recorded by layer. The config is copied first, since other models may
    have been made from the same one.
    """
    before = getattr(model, "config", None)
    if before is None or not hasattr(before, "to_dict"):
        return
    structures = find_structures(model)
    options = [(config, _unlike(model, config, structures)) for config in _candidates(before, structures)]
    known = [(config, unlike) for config, unlike in options if unlike is not None]
    if known:
        config, unlike = min(known, key=lambda option: len(option[1]))
    else:  # a class that is not made from its config alone
        config, unlike = copy.deepcopy(before), structures
    widths = {local_name(model, s.name): s.units for s in unlike}
    if widths:
        setattr(config, WIDTHS_KEY, widths)
    elif hasattr(config, WIDTHS_KEY):
        delattr(config, WIDTHS_KEY)
    for module in model.modules():
        if getattr(module, "config", None) is before:
            module.config = config


def local_name(model: nn.Module, name: str) -> str:
    """A module's name without that of the base model in front, so that it holds under any head."""
    prefix = getattr(model, "base_model_prefix", "")
    return name.removeprefix(f"{prefix}.") if prefix else name


def _candidates(config: Any, structures: list[Structure]) -> Iterator[Any]:
    """The config as it is, and with fields for widths that are the same in all layers."""
    yield copy.deepcopy(config)
    neurons = {s.units for s in structures if s.kind == "neurons"}
    heads = {(s.units, s.readers[0].size) for s in structures if s.kind == "heads"}
    ffn = dict.fromkeys(_NEURONS, neurons.pop()) if len(neurons) == 1 else {}
    attention: dict[str, int] = {}
    if len(heads) == 1:
        count, size = heads.pop()
        attention = dict.fromkeys(_HEADS, count)
        own = dict.fromkeys([name for name in _HEAD_SIZE if hasattr(config, name)] or _HEAD_SIZE, size)
    for fields, new in ((ffn, {}), (attention, own if attention else {}), (ffn | attention, own if attention else {})):
        changed = copy.deepcopy(config)
        for name, value in fields.items():
            if hasattr(config, name):
                setattr(changed, name, value)
        for name, value in new.items():
            setattr(changed, name, value)
        yield changed


def _unlike(model: nn.Module, config: Any, structures: list[Structure]) -> list[Structure] | None:
    """Structures of another shape than a model made from ``config`` has; None if the rest differs too."""
    try:
        with torch.device("meta"):
            made = type(model)(copy.deepcopy(config))
    except _BUILD_ERRORS:
        return None
    given = {name: p.shape for name, p in made.named_parameters()}
    other = {name for name, p in model.named_parameters() if given.get(name) != p.shape}
    unlike = [s for s in structures if _touches(s, other) or not _counts_alike(s, model, made)]
    explained = {slot.module for s in unlike for slot in s.slots}
    return unlike if all(name.rpartition(".")[0] in explained for name in other) else None


def _touches(structure: Structure, parameters: set[str]) -> bool:
    return any(f"{slot.module}.weight" in parameters for slot in structure.slots)


def _counts_alike(structure: Structure, model: nn.Module, made: nn.Module) -> bool:
    found = [(made.get_submodule(c.module), model.get_submodule(c.module), c.attribute) for c in structure.counts]
    return all(getattr(a, name, None) == getattr(b, name) for a, b, name in found)
