"""Which parts of a quantized model cost most: each part rounded by itself, against the float model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.quantization.attention import AttentionQuant
from sparsify.quantization.calibrate import run_batch
from sparsify.quantization.fake_quant import FakeQuant
from sparsify.quantization.insert import Coverage, coverage_of
from sparsify.quantization.layers import QLayer, enable_calibrated, set_enabled


def parts_of(coverage: Coverage) -> list[str]:
    """Names of the parts that can be left in float one by one.

    Each attention with all that it holds (its projections share an input), then the layers outside of them.
    """
    attention = list(coverage.attention)
    return attention + [n for n in coverage.layers if not any(n.startswith(f"{a}.") for a in attention)]


@contextmanager
def in_float(model: nn.Module, parts: Sequence[str]) -> Iterator[None]:
    """Some parts of a quantized model in float, for as long as the block runs."""
    held = [(fq, fq.enabled) for part in parts for fq in _quantizers(model.get_submodule(part))]
    layers: list[Any] = [m for part in parts for m in model.get_submodule(part).modules() if _reads(m)]
    inputs: list[FakeQuant] = [layer.input_fq for layer in layers]
    for fq, _ in held:
        fq.enabled = False
    for layer in layers:
        _set_input(layer, None)
    try:
        yield
    finally:
        for layer, fq in zip(layers, inputs, strict=True):
            _set_input(layer, fq)
        for fq, enabled in held:
            fq.enabled = enabled


@torch.no_grad()
def sensitivities(model: nn.Module, batches: Sequence[Any]) -> dict[str, float]:
    """Mean squared error of the outputs when only this part is rounded, over the mean square of the float outputs.

    Args:
        model: Quantized and calibrated, in eval mode; left as it was.
        batches: Model inputs.

    Returns:
        By part, worst first; of equals the first one first.
    """
    parts = parts_of(coverage_of(model))
    set_enabled(model, False)
    plain = [_outputs(run_batch(model, batch)) for batch in batches]
    enable_calibrated(model)
    scale = sum(float(o.square().sum()) for o in plain) or 1.0
    found: dict[str, float] = {}
    for part in parts:
        with in_float(model, [other for other in parts if other != part]):
            gaps = [
                float((_outputs(run_batch(model, b)) - o).square().sum()) for b, o in zip(batches, plain, strict=True)
            ]
        found[part] = sum(gaps) / scale
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _quantizers(module: nn.Module) -> list[FakeQuant]:
    """Weights', outputs' and attention's own: an input's may serve layers elsewhere."""
    found: list[FakeQuant] = []
    for inner in module.modules():
        if isinstance(inner, QLayer):
            own = (inner.weight_fq, getattr(inner, "output_fq", None))
            found += [fq for fq in own if fq is not None]
        elif isinstance(inner, AttentionQuant):
            found += [inner.query, inner.key, inner.probabilities, inner.value]
    return found


def _reads(module: nn.Module) -> bool:
    return isinstance(module, QLayer) and getattr(module, "input_fq", None) is not None


def _set_input(layer: Any, fq: FakeQuant | None) -> None:
    """An owner registers its quantizer, the others refer to it."""
    if layer.owns_input:
        layer.input_fq = fq
    else:
        object.__setattr__(layer, "input_fq", fq)


def _outputs(result: Any) -> Tensor:
    """All float outputs of a model, in one vector."""
    if isinstance(result, Tensor):
        return result.flatten()
    values = result.values() if isinstance(result, Mapping) else result
    return torch.cat([v.float().flatten() for v in values if isinstance(v, Tensor) and v.is_floating_point()])
