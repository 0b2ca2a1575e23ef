"""One run of a model on a few tokens: which layers share an input, and which modules take our attention function.

Found by running, not by a list of names.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.errors import first_line
from sparsify.quantization.attention import IMPLEMENTATION, TOLERANCE, close, recording, register
from sparsify.quantization.modes import evaluating

_TOKENS = ((1, 2, 3, 4, 5, 6), (6, 4, 2, 0, 0, 0))
_ROUNDINGS = 16  # of half precision, between two orders of the same operations
_RUN_ERRORS = (
    *(RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError, AssertionError),
    *(ArithmeticError,),
)


@dataclass
class Trace:
    """What one run on a few tokens showed.

    Attributes:
        inputs: For each layer, the tensors (numbered) that it was called with.
        attention: Modules that call the attention function, by name, and how often each does.
        reason: Why there are none, for a person.
        replaced: Name of the attention function that ours has taken the place of, if it has.
    """

    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    attention: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    replaced: str | None = None


def trace(model: nn.Module, layers: Mapping[str, nn.Module], attention: bool = True) -> Trace:
    """Run ``model`` once and see which layers share an input and which modules take an attention function.

    With ``attention``, the model is left with our attention function if that gave the same output as its own; else
    it is left as it was. A model that is not from transformers, or that does not run, gives an empty trace.
    """
    sample = _sample(model)
    if sample is None:
        return Trace(reason="not a transformers model that runs on token ids")
    found, held = Trace(), _Inputs(layers)
    with _quietly(model), held:
        try:
            expected = _first_output(model(**sample))
        except _RUN_ERRORS as error:
            return Trace(reason=f"the model does not run on plain token ids ({first_line(error)})")
    found.inputs = held.numbered
    if attention:
        with _quietly(model):
            before = _present(model)
            found.attention, found.reason = _switch(model, sample, expected, before)
            found.replaced = before if found.attention else None
    return found


def _present(model: Any) -> str:
    """Name of the model's attention function; of a plain one where it is ours already."""
    name: str = model.config._attn_implementation
    return "eager" if name == IMPLEMENTATION else name


def _switch(model: Any, sample: dict[str, Tensor], expected: Tensor, before: str) -> tuple[dict[str, int], str]:
    can = getattr(type(model), "_can_set_attn_implementation", None)
    if can is not None and not can():
        return {}, f"{type(model).__name__} has an attention of its own that takes no other function"
    register()
    try:
        model.set_attn_implementation(IMPLEMENTATION)
        with recording() as callers:
            output = _first_output(model(**sample))
    except _RUN_ERRORS as error:
        model.set_attn_implementation(before)
        return {}, f"its attention does not run through a registered function ({first_line(error)})"
    precision = max((torch.finfo(p.dtype).eps for p in model.parameters() if p.is_floating_point()), default=0.0)
    tolerance = max(TOLERANCE, _ROUNDINGS * precision if precision > TOLERANCE else 0.0)
    same = all(agrees for _, agrees in callers) and close(output, expected, tolerance)
    calls = Counter(id(module) for module, _ in callers)
    names = {name: calls[id(module)] for name, module in model.named_modules() if id(module) in calls}
    if names and same:
        return names, ""
    model.set_attn_implementation(before)
    return (
        {},
        "its attention computes something else than softmax(q k) v" if names else "it has no attention to replace",
    )


def _sample(model: nn.Module) -> dict[str, Tensor] | None:
    config = getattr(model, "config", None)
    if not hasattr(model, "set_attn_implementation") or getattr(model, "main_input_name", "") != "input_ids":
        return None
    weight = next(model.parameters(), None)
    if weight is None or weight.is_meta:
        return None
    ids = torch.tensor(_TOKENS, device=weight.device) % max(int(getattr(config, "vocab_size", 7)), 1)
    sample = {"input_ids": ids}
    names = inspect.signature(model.forward).parameters
    if "attention_mask" in names:
        sample["attention_mask"] = (torch.tensor(_TOKENS, device=weight.device) > 0).long()
    if "decoder_input_ids" in names:
        sample["decoder_input_ids"] = ids
    return sample


def _first_output(outputs: Any) -> Tensor:
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    first = next((v for v in values if isinstance(v, Tensor)), None)
    if first is None:
        raise TypeError("it gives no tensor")
    return first.float()


class _Inputs:
    """Records, while entered, which tensors layers are called with; tensors are kept so that no id comes twice."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.numbered: dict[str, tuple[int, ...]] = {}
        self._layers = layers
        self._kept: list[tuple[Tensor, int]] = []

    def __enter__(self) -> None:
        self._hooks = [
            layer.register_forward_pre_hook(self._hook(name), with_kwargs=True) for name, layer in self._layers.items()
        ]

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._kept = []

    def _hook(self, name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = args[0] if args else named.get("input")
            if isinstance(given, Tensor):
                found = (given, given._version)  # one changed in place is another input
                self._kept.append(found)
                number = next(i for i, (t, version) in enumerate(self._kept) if t is found[0] and version == found[1])
                self.numbered[name] = (*self.numbered.get(name, ()), number)

        return note


@contextmanager
def _quietly(model: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients, no warnings of transformers; all put back."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with evaluating(model), torch.no_grad():
            yield
    finally:
        logger.setLevel(level)
