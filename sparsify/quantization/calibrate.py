"""Calibration: ranges from data, without training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.layers import enable_calibrated, quantizers, set_enabled, set_observing
from sparsify.quantization.modes import evaluating
from sparsify.quantization.range_observers import PERCENTILE, MinMax, make_observer

OBSERVER = "mse"
"""What finds ranges where nothing else is said."""


def calibrate(
    model: nn.Module,
    batches: Iterable[Any] | None,
    steps: int | None = None,
    *,
    observer: str = OBSERVER,
    percentile: float = PERCENTILE,
) -> int:
    """Observe ranges of the float model on ``batches``, in eval mode, then freeze and enable all quantizers.

    Args:
        model: With quantizers inserted.
        batches: Mappings of model inputs, tuples of them, or tensors; moved to the model's device. None if only
            weights are quantized, or activations by the range of each batch. Held in memory where the observer needs
            them twice.
        steps: Use this many batches; all by default.
        observer: A name of ``range_observers.OBSERVERS``.
        percentile: Percent of the values that the range of the percentile observer holds.

    Returns:
        How many batches were used.

    Raises:
        InputError: Activations are quantized by fixed ranges and there is no batch, or values without a range (infinite
            ones, or no numbers).
    """
    found = quantizers(model)
    static = [fq for fq in found.values() if isinstance(fq, ActivationQuant)]
    for fq in found.values():
        fq.calibrating = True
    for fq in static:
        widest = fq.widen and observer == "moving_average"
        fq.observer = MinMax() if widest else make_observer(observer, percentile)
    try:
        set_enabled(model, False)
        set_observing(model, True)
        with evaluating(model):
            used = _observe(model, islice(batches or (), steps))
        set_observing(model, False)
    finally:
        for fq in static:
            fq.close()
        enable_calibrated(model)
    if not used and static:
        set_enabled(model, False)
        raise InputError(
            "quantizing activations needs calibration data and there was no batch: give some batches of model inputs, "
            "or quantize weights only (scheme: {input_activations: null})"
        )
    return used


@torch.no_grad()
def _observe(model: nn.Module, batches: Iterator[Any]) -> int:
    """Run the model over all batches, as often as the observers ask; gives how many there are."""
    static = {name: fq for name, fq in quantizers(model).items() if isinstance(fq, ActivationQuant)}
    observers = [fq.observer for fq in static.values() if fq.observer is not None]
    passes = max((o.passes for o in observers), default=1)
    kept = list(batches) if passes > 1 else batches
    used = 0
    for number in range(passes):
        for batch in kept:
            run_batch(model, batch)
            used += number == 0
        for one in observers:
            one.next_pass()
        if number == 0:
            _refuse_infinite(static)
    return used


def _refuse_infinite(static: Mapping[str, ActivationQuant]) -> None:
    """No grid of integers holds infinity; and a range of no numbers would leave its layer in float without a word."""
    for name, fq in static.items():
        ends = [float(end) for end in fq.observer.range(fq.spec)] if fq.observer is not None else []
        if not all(map(math.isfinite, ends)):
            for other in static.values():
                other.observer = None
            raise InputError(
                f"calibration: values at {name} go from {ends[0]:g} to {ends[1]:g}, which no range of integers can hold:"
                " are the model's weights finite, and the batches what it takes?"
            )


def run_batch(model: nn.Module, batch: Any) -> Any:
    """The model's outputs for a mapping of inputs, a tuple of them, or a tensor; moved to the model's device."""
    weight = next(model.parameters(), None)
    device = weight.device if weight is not None else torch.device("cpu")
    if isinstance(batch, Mapping):
        return model(**{k: _to(v, device) for k, v in batch.items()})
    if isinstance(batch, list | tuple):
        return model(*[_to(v, device) for v in batch])
    return model(_to(batch, device))


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def first_samples(batches: Iterable[Any], count: int | None) -> Iterator[Any]:
    """Batches up to the first ``count`` examples, the last batch cut to fit; all of them where it is None."""
    left = count
    for batch in batches:
        size = _examples(batch)
        if left is None or size <= left:
            yield batch
        else:
            yield _cut(batch, left)
        left = None if left is None else left - size
        if left is not None and left <= 0:
            return


def _examples(batch: Any) -> int:
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else [batch]
    return next((len(v) for v in values if isinstance(v, Tensor) and v.ndim), 1)


def _cut(batch: Any, count: int) -> Any:
    if isinstance(batch, Mapping):
        return {key: _cut(value, count) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_cut(value, count) for value in batch)
    return batch[:count] if isinstance(batch, Tensor) and batch.ndim else batch
