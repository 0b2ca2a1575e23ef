"""Calibration: ranges from data, without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.layers import enable_calibrated, quantizers, set_enabled, set_observing


def calibrate(model: nn.Module, batches: Iterable[Any] | None, steps: int | None = None) -> int:
    """Observe ranges of the float model on ``batches``, in eval mode, then freeze and enable all quantizers.

    Args:
        model: With quantizers inserted.
        batches: Mappings of model inputs, tuples of them, or tensors; moved to the model's device. None if only
            weights are quantized.
        steps: Use this many batches; all by default.

    Returns:
        How many batches were used.

    Raises:
        InputError: Activations are quantized and there is no batch.
    """
    found = quantizers(model)
    used = 0
    training = {name: m.training for name, m in model.named_modules()}
    model.eval()
    for fq in found.values():
        fq.calibrating = True
    try:
        set_enabled(model, False)
        set_observing(model, True)
        with torch.no_grad():
            for batch in islice(batches or (), steps):
                _run(model, batch)
                used += 1
        set_observing(model, False)
    finally:
        enable_calibrated(model)
        for name, module in model.named_modules():
            module.training = training[name]
    if not used and any(isinstance(fq, ActivationQuant) for fq in found.values()):
        set_enabled(model, False)
        raise InputError(
            "quantizing activations needs calibration data and there was no batch: give some batches of model inputs, "
            "or quantize weights only (scheme: {input_activations: null})"
        )
    return used


def _run(model: nn.Module, batch: Any) -> None:
    weight = next(model.parameters(), None)
    device = weight.device if weight is not None else torch.device("cpu")
    if isinstance(batch, Mapping):
        model(**{k: _to(v, device) for k, v in batch.items()})
    elif isinstance(batch, list | tuple):
        model(*[_to(v, device) for v in batch])
    else:
        model(_to(batch, device))


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
