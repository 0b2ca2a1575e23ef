"""The matmuls inside attention: a fake-quantizing attention function for transformers models that accept one.

Models that write their attention out themselves (DeBERTa-v2, MPNet, ...) keep it: there only the Linears are quantized.
Which is which is found by running the model once on a few tokens, not by a list of names.
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
from torch.nn import functional

from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.modes import evaluating
from sparsify.quantization.qparams import QuantSpec

IMPLEMENTATION = "sparsify"
_TOKENS = ((1, 2, 3, 4, 5, 6), (6, 4, 2, 0, 0, 0))
_TOLERANCE = 1e-4
_RUN_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError)
_callers: list[nn.Module] | None = None


class AttentionQuant(nn.Module):
    """Fake quantizers of the four inputs of attention's two matmuls."""

    query: ActivationQuant
    key: ActivationQuant
    probabilities: ActivationQuant
    value: ActivationQuant

    def __init__(
        self,
        spec: QuantSpec,
        momentum: float,
        widen: bool = False,
        device: torch.device | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        for name in ("query", "key", "probabilities", "value"):
            self.add_module(name, ActivationQuant(spec, momentum, widen, device, learned))


def quantized_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention in plain matmuls, their inputs fake quantized where ``module`` holds quantizers; softmax stays float.

    Args:
        module: The attention module that calls.
        query: [batch, heads, queries, size]; ``key`` and ``value`` likewise, with as many heads or a divisor of them.
        key: See ``query``.
        value: See ``query``.
        attention_mask: Added to the scores, or None.
        scaling: Factor of the scores; 1 / sqrt(size) by default.
        dropout: Rate, while training.
        **kwargs: What this function has no use for.

    Returns:
        Output [batch, queries, heads, size] and the probabilities.
    """
    if _callers is not None:
        _callers.append(module)
    if key.shape[1] != query.shape[1]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    fq = module.attention_fq if hasattr(module, "attention_fq") else None
    if isinstance(fq, AttentionQuant):
        query, key, value = fq.query(query), fq.key(key), fq.value(value)
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = functional.softmax(scores, dim=-1)
    if isinstance(fq, AttentionQuant):
        weights = fq.probabilities(weights)
    weights = functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


@dataclass
class Trace:
    """What one run on a few tokens showed.

    Attributes:
        inputs: For each layer, the tensors (numbered) that it was called with.
        attention: Modules that call the attention function, by name, and how often each does.
        reason: Why there are none, for a person.
    """

    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    attention: dict[str, int] = field(default_factory=dict)
    reason: str = ""


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
            return Trace(reason=f"the model does not run on plain token ids ({str(error).splitlines()[0]})")
    found.inputs = held.numbered
    if attention:
        with _quietly(model):
            found.attention, found.reason = _switch(model, sample, expected)
    return found


def _switch(model: Any, sample: dict[str, Tensor], expected: Tensor) -> tuple[dict[str, int], str]:
    before = model.config._attn_implementation
    if before == IMPLEMENTATION:
        before = "eager"
    can = getattr(type(model), "_can_set_attn_implementation", None)
    if can is not None and not can():
        return {}, f"{type(model).__name__} has an attention of its own that takes no other function"
    _register()
    try:
        model.set_attn_implementation(IMPLEMENTATION)
        with _recording() as callers:
            output = _first_output(model(**sample))
    except _RUN_ERRORS as error:
        model.set_attn_implementation(before)
        return {}, f"its attention does not run through a registered function ({str(error).splitlines()[0]})"
    same = output.shape == expected.shape and torch.allclose(output, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
    calls = Counter(map(id, callers))
    names = {name: calls[id(module)] for name, module in model.named_modules() if id(module) in calls}
    if names and same:
        return names, ""
    model.set_attn_implementation(before)
    return (
        {},
        "its attention computes something else than softmax(q k) v" if names else "it has no attention to replace",
    )


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    # Without a mask function of the same name the attention mask would silently be None.
    AttentionInterface.register(IMPLEMENTATION, quantized_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, ALL_MASK_ATTENTION_FUNCTIONS["eager"])


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
    first = next(v for v in values if isinstance(v, Tensor))
    return first.float()


class _Inputs:
    """Records, while entered, which tensors layers are called with; tensors are kept so that no id comes twice."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.numbered: dict[str, tuple[int, ...]] = {}
        self._layers = layers
        self._kept: list[tuple[Tensor, int]] = []

    def __enter__(self) -> None:
        self._hooks = [layer.register_forward_pre_hook(self._hook(name)) for name, layer in self._layers.items()]

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._kept = []

    def _hook(self, name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                found = (args[0], args[0]._version)  # one changed in place is another input
                self._kept.append(found)
                number = next(i for i, (t, version) in enumerate(self._kept) if t is found[0] and version == found[1])
                self.numbered[name] = (*self.numbered.get(name, ()), number)

        return note


@contextmanager
def _recording() -> Iterator[list[nn.Module]]:
    global _callers
    _callers = []
    try:
        yield _callers
    finally:
        _callers = None


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
