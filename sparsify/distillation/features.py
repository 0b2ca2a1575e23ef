"""What layers of two models give on one batch: recorded by hooks, compared by pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from sparsify.errors import InputError

Compare = Callable[..., Tensor]


class Tap:
    """Records what modules give: tensors, or the first tensor of a tuple or mapping.

    Args:
        modules: By name; what each gave last is kept.
        offload: Keep it in the CPU's memory.
        gradients: Record only forwards that build a graph (training of a student, not its evaluation).

    Attributes:
        names: Of the modules.
    """

    def __init__(self, modules: Mapping[str, nn.Module], *, offload: bool = False, gradients: bool = False) -> None:
        self.on = True
        self.names = tuple(modules)
        self._found: dict[str, Tensor] = {}
        self._offload, self._gradients = offload, gradients
        self._handles: list[RemovableHandle] = [
            module.register_forward_hook(self._hook(name)) for name, module in modules.items()
        ]

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            if self.on and (torch.is_grad_enabled() or not self._gradients):
                value = _tensor(name, output)
                self._found[name] = value.cpu() if self._offload else value

        return record

    def take(self) -> list[Tensor]:
        """What each module gave, in their order; they are forgotten.

        Raises:
            InputError: A module took no part in the forward.
        """
        if idle := [name for name in self.names if name not in self._found]:
            hint = ", or checkpoint gradients with use_reentrant=False" if self._gradients else ""
            raise InputError(f"distillation: {idle[0]} took no part in the forward pass: choose other layers{hint}")
        found = [self._found[name] for name in self.names]
        self._found = {}
        return found

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._found, self.on = [], {}, False


def _tensor(name: str, output: Any) -> Tensor:
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else [output]
    )
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    raise InputError(f"distillation: {name} gives {type(output).__name__}, which holds no floating tensor")


def counted_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the positions that count.

    Args:
        values: One value per position, [B, S] or other.
        mask: Attention mask [B, S], 1 where a position counts; left aside where shapes differ.
    """
    if mask is None or mask.shape != values.shape:
        return values.mean()
    counts = (mask == 1).to(values.device)
    return values.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)


def relative_error(student: Tensor, teacher: Tensor, mask: Tensor | None, epsilon: float = 1e-6) -> Tensor:
    """Mean squared error over the teacher's mean square (SquareHead, Kurtic et al. 2023, arXiv:2310.06927).

    Args:
        student: [..., C].
        teacher: Of the same shape.
        mask: Attention mask; see ``counted_mean``.
        epsilon: Added to the teacher's mean square.
    """
    error = counted_mean((student - teacher).square().mean(-1), mask)
    return error / (counted_mean(teacher.square().mean(-1), mask) + epsilon)


def squared_error(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error over the positions that count."""
    return counted_mean((student - teacher).square().mean(-1), mask)


def normalize(values: Tensor, p: float = 1.0, eps: float = 1e-12, mean: bool = False, std: bool = False) -> Tensor:
    """Divide by the p-norm over the last dimension; then centre it and divide by its deviation, where asked for."""
    values = functional.normalize(values, p=p, dim=-1, eps=eps)
    values = values - values.mean(-1, keepdim=True) if mean else values
    return values / values.std(-1, keepdim=True) if std else values


TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda values: values,
    "softmax": lambda values, temperature=1.0: (values / temperature).softmax(-1),
    "log_softmax": lambda values, temperature=1.0: (values / temperature).log_softmax(-1),
    "normalize": normalize,
}
TRANSFORM_ARGS: dict[str, tuple[str, ...]] = {
    "identity": (),
    "softmax": ("temperature",),
    "log_softmax": ("temperature",),
    "normalize": ("p", "eps", "mean", "std"),
}


def _kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    ours, theirs = (student / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def _cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    return -((teacher / temperature).softmax(-1) * (student / temperature).log_softmax(-1)).sum(-1)


COMPARISONS: dict[str, Compare] = {
    "kl_divergence": _kl,
    "cross_entropy": _cross_entropy,
    "l1_distance": lambda student, teacher: (student - teacher).abs().sum(-1),
    "l2_distance": lambda student, teacher: (student - teacher).square().sum(-1),
    "inner_product": lambda student, teacher: -(student * teacher).sum(-1),
    "cosine_similarity": lambda student, teacher: 1.0 - functional.cosine_similarity(student, teacher, dim=-1),
}
"""How far two tensors [..., C] are apart, by position: each is smaller the more they are alike."""
COMPARISON_ARGS: dict[str, tuple[str, ...]] = {"kl_divergence": ("temperature",), "cross_entropy": ("temperature",)}
SQUARE_HEAD = "square_head"


def compare(
    name: str, student: Tensor, teacher: Tensor, mask: Tensor | None, arguments: Mapping[str, Any] | None = None
) -> Tensor:
    """One of ``COMPARISONS``, averaged over the positions that count, or ``square_head``.

    Args:
        name: Which one.
        student: [..., C].
        teacher: Of the same shape.
        mask: Attention mask; see ``counted_mean``.
        arguments: Its arguments.
    """
    if name == SQUARE_HEAD:
        return relative_error(student, teacher, mask)
    return counted_mean(COMPARISONS[name](student, teacher, **(arguments or {})), mask)


def transformed(values: Tensor, names: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> Tensor:
    """``values`` after each of ``TRANSFORMS`` that is named, in their order."""
    for name, given in zip(names, arguments, strict=True):
        values = TRANSFORMS[name](values, **given)
    return values
