"""The matmuls inside attention: a fake-quantizing attention function for transformers models that accept one.

Models that write their attention out themselves (DeBERTa-v2, MPNet, ...) keep it: there only the Linears are quantized.
Which is which ``sparsify.quantization.tracing`` finds out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.qparams import QuantSpec

IMPLEMENTATION = "sparsify"
TOLERANCE = 1e-4
_LARGE = 20.0  # scores up to here: those of random weights are so small that most differences vanish in softmax
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
        register()


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
    return close(_attend(module, query, key, value, mask, scaling)[0], expected, TOLERANCE)


def _plain_attention(cls: type) -> Any:
    """What transformers calls the attention in plain matmuls of a file of models."""
    return getattr(sys.modules.get(cls.__module__), "eager_attention_forward", None)


def close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether two outputs differ by no more than ``tolerance`` times the largest value (times 1 where that is less)."""
    if found.shape != expected.shape:
        return False
    size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return torch.allclose(found, expected, rtol=0.0, atol=tolerance * size)


def register() -> None:
    """Make the attention function known to transformers, under ``IMPLEMENTATION``."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    # Without a mask function of the same name the attention mask would silently be None.
    AttentionInterface.register(IMPLEMENTATION, quantized_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, ALL_MASK_ATTENTION_FUNCTIONS["eager"])


@contextmanager
def recording() -> Iterator[list[tuple[nn.Module, bool]]]:
    """Gather each call of the attention function: by which module, and whether the attention it came with agrees."""
    global _callers
    _callers = []
    try:
        yield _callers
    finally:
        _callers = None
