"""Cut units out of layers in place: weights, biases, statistics, ranges, gradients and the optimizer's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsify.errors import InputError
from sparsify.pruning.slots import Slot, weight_of
from sparsify.quantization.fake_quant import WeightQuant


@dataclass(frozen=True)
class Cut:
    """What stays of a tensor: ``kept`` indices (int64, rising) along ``axis``."""

    axis: int
    kept: Tensor

    def of(self, tensor: Tensor) -> Tensor:
        """The rest, contiguous."""
        return tensor.index_select(self.axis, self.kept.to(tensor.device))


Cuts = dict[nn.Parameter, list[Cut]]
"""By parameter, what was cut, in order."""


def check_slot(model: nn.Module, slot: Slot, optimizer: torch.optim.Optimizer | None) -> None:
    """Find out whether ``cut_slot`` can do its work, before anything is changed.

    Raises:
        InputError: The model is sharded, its scales do not allow the cut, or the optimizer keeps a state that does not.
    """
    if isinstance(optimizer, torch.optim.LBFGS) and optimizer.state:
        raise InputError(
            "LBFGS keeps the past of all weights in one vector, which cannot be cut: shrink after training"
        )
    quantizer = getattr(model.get_submodule(slot.module), "weight_fq", None)
    if slot.axis == 1 and isinstance(quantizer, WeightQuant) and quantizer.spec.group is not None:
        raise InputError(
            f"{slot.module}: groups of its weights share scales along its inputs: shrink before quantizing"
        )
    first = Cut(slot.axis, torch.zeros(1, dtype=torch.int64))
    for name, parameter in _parameters(model, slot):
        if hasattr(parameter, "placements"):
            raise InputError(f"{name} is sharded (FSDP): shrink the model before sharding, or after it was gathered")
        for key, value in _state_of(parameter, optimizer).items():
            _cut_state(value, parameter.shape, first, f"{name}: {key}")


def cut_slot(model: nn.Module, slot: Slot, units: Tensor, optimizer: torch.optim.Optimizer | None, cuts: Cuts) -> None:
    """Keep only ``units`` (indices) of what ``slot`` names, and note it in ``cuts``.

    Parameters stay the same objects, so the optimizer and every other reference to them stay right.
    """
    module = model.get_submodule(slot.module)
    kept = (units[:, None] * slot.size + torch.arange(slot.size, device=units.device)).flatten()
    cut = Cut(slot.axis, kept)
    for name, parameter in _parameters(model, slot):
        _cut_parameter(parameter, cut, name, optimizer)
        cuts.setdefault(parameter, []).append(cut)
    if slot.axis == 0 and isinstance(module, _BatchNorm):
        for statistic in ("running_mean", "running_var"):
            values = getattr(module, statistic)
            if values is not None:
                setattr(module, statistic, cut.of(values))
    _cut_ranges(module, cut)
    _set_sizes(module)


def _parameters(model: nn.Module, slot: Slot) -> list[tuple[str, nn.Parameter]]:
    """Weight and, along rows, bias and learned range of a slot's module, by full name."""
    module = model.get_submodule(slot.module)
    names = ("weight", "bias") if slot.axis == 0 else ("weight",)
    found = [(f"{slot.module}.{name}", getattr(module, name, None)) for name in names]
    quantizer = getattr(module, "weight_fq", None)
    if slot.axis == 0 and isinstance(quantizer, WeightQuant) and quantizer.spec.axis == 0:
        found.append((f"{slot.module}.weight_fq.clip_value", quantizer.clip_value))
    return [(name, parameter) for name, parameter in found if isinstance(parameter, nn.Parameter)]


def _state_of(parameter: nn.Parameter, optimizer: torch.optim.Optimizer | None) -> dict[str, object]:
    return (optimizer.state.get(parameter) if optimizer is not None else None) or {}


@torch.no_grad()
def _cut_parameter(parameter: nn.Parameter, cut: Cut, name: str, optimizer: torch.optim.Optimizer | None) -> None:
    before, grad = parameter.shape, parameter.grad
    smaller = cut.of(parameter.data)
    state = _state_of(parameter, optimizer)
    changed = {key: _cut_state(value, before, cut, f"{name}: {key}") for key, value in state.items()}
    parameter.grad = None
    # A graph that is still referred to keeps the node that accumulates this gradient, with the old shape in it. Torch
    # makes a new one only when the data's type changes.
    other = torch.float32 if parameter.dtype == torch.float64 else torch.float64
    parameter.data = torch.empty(0, dtype=other, device=parameter.device)
    parameter.data = smaller
    parameter.grad = None if grad is None else cut.of(grad)
    state.update(changed)


def _cut_state(value: object, shape: torch.Size, cut: Cut, name: str) -> object:
    """An optimizer's value for a parameter of ``shape``, cut alike: of its shape, reduced over one axis, or a number."""
    if isinstance(value, list | tuple | dict) and value:
        raise InputError(f"{name}: the optimizer keeps {type(value).__name__}s, which cannot be cut with the weight")
    if not isinstance(value, Tensor) or value.numel() == 1:
        return value
    if len(value.shape) == len(shape) and all(n in (1, full) for n, full in zip(value.shape, shape, strict=True)):
        return value if value.shape[cut.axis] == 1 else cut.of(value)
    rows, columns = shape[:-1], shape[:-2] + shape[-1:]
    if value.shape in (rows, columns):  # Adafactor's factors: mean over the last axis, and over the one before it
        over_last = value.shape == rows and (rows != columns or "col" not in name.rpartition(":")[2])
        gone = len(shape) - (1 if over_last else 2)
        return value if cut.axis == gone else Cut(cut.axis - (cut.axis > gone), cut.kept).of(value)
    raise InputError(
        f"{name} of the optimizer has shape {list(value.shape)} for a weight of {list(shape)}: it cannot be cut with it. "
        "Shrink after training, or use an optimizer that keeps its state in the weights' shapes (AdamW, SGD)"
    )


def _cut_ranges(module: nn.Module, cut: Cut) -> None:
    """Scales of a fake-quantized weight, where it has one for each row."""
    quantizer = getattr(module, "weight_fq", None)
    if isinstance(quantizer, WeightQuant) and quantizer.scale.ndim and quantizer.spec.axis == cut.axis:
        quantizer.scale, quantizer.zero_point = cut.of(quantizer.scale), cut.of(quantizer.zero_point)


def _set_sizes(module: nn.Module) -> None:
    weight = weight_of(module)
    names: Sequence[str] = ()
    if isinstance(module, nn.Linear):
        names = ("out_features", "in_features")
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        names = ("out_channels", "in_channels")
    elif isinstance(module, _BatchNorm):
        names = ("num_features",)
    for axis, name in enumerate(names):
        setattr(module, name, weight.shape[axis])
