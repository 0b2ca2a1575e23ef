"""The matmuls inside attention: a fake-quantizing attention function for transformers models that accept one.

Models that write their attention out themselves (DeBERTa-v2, MPNet, ...) keep it: there only the Linears are quantized.
Which is which is found by running the model once on a few tokens, not by a list of names.
"""

from __future__ import annotations

import inspect
import logging
import sys
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
_ROUNDINGS = 16  # of half precision, between two orders of the same operations
_LARGE = 20.0  # scores up to here: those of random weights are so small that most differences vanish in softmax
_RUN_ERRORS = (
    *(RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError, AssertionError),
    *(ArithmeticError,),
)
_callers: list[tuple[nn.Module, bool]] | None = None


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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A model that is unpickled in another process finds its attention function there."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        _register()


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
        options = {"scaling": scaling, "dropout": dropout, **kwargs}
        _callers.append((module, _as_its_own(module, (query, key, value), attention_mask, options)))
    return _attend(module, query, key, value, attention_mask, scaling, dropout)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
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
            return Trace(reason=f"the model does not run on plain token ids ({_said(error)})")
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
    _register()
    try:
        model.set_attn_implementation(IMPLEMENTATION)
        with _recording() as callers:
            output = _first_output(model(**sample))
    except _RUN_ERRORS as error:
        model.set_attn_implementation(before)
        return {}, f"its attention does not run through a registered function ({_said(error)})"
    precision = max((torch.finfo(p.dtype).eps for p in model.parameters() if p.is_floating_point()), default=0.0)
    tolerance = max(_TOLERANCE, _ROUNDINGS * precision if precision > _TOLERANCE else 0.0)
    same = all(agrees for _, agrees in callers) and _close(output, expected, tolerance)
    calls = Counter(id(module) for module, _ in callers)
    names = {name: calls[id(module)] for name, module in model.named_modules() if id(module) in calls}
    if names and same:
        return names, ""
    model.set_attn_implementation(before)
    return (
        {},
        "its attention computes something else than softmax(q k) v" if names else "it has no attention to replace",
    )


def _as_its_own(
    module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, options: Mapping[str, Any]
) -> bool:
    """Whether the plain attention that ``module``'s class came with gives the same, whatever the model's weights are.

    Compared in float32, on queries so long that a bound on scores, a bias or a sink would show.
    """
    own = next((f for c in type(module).__mro__ if (f := _plain_attention(c)) is not None), None)
    if own is None:  # the outputs alone will tell
        return True
    query, key, value = (t.float() for t in inputs)
    mask = mask.float() if mask is not None and mask.is_floating_point() else mask
    scaling = options["scaling"] if options["scaling"] is not None else query.size(-1) ** -0.5
    longest = float(query.norm(dim=-1).amax() * key.norm(dim=-1).amax()) * abs(scaling)
    query = query * (_LARGE / longest if longest > 0 else 1.0)
    expected = own(module, query, key, value, mask, **options)[0]
    return _close(_attend(module, query, key, value, mask, scaling)[0], expected, _TOLERANCE)


def _plain_attention(cls: type) -> Any:
    """What transformers calls the attention in plain matmuls of a file of models."""
    return getattr(sys.modules.get(cls.__module__), "eager_attention_forward", None)


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    if found.shape != expected.shape:
        return False
    size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return torch.allclose(found, expected, rtol=0.0, atol=tolerance * size)


def _said(error: Exception) -> str:
    """The first line of what an error says, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
def _recording() -> Iterator[list[tuple[nn.Module, bool]]]:
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
