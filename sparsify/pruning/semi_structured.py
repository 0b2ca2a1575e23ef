"""2:4 sparse weights as torch's semi-structured tensors, which NVIDIA's sparse tensor cores multiply (Ampere and later)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparsify.errors import InputError, first_line

_GROUP, _KEPT = 4, 2
_DTYPES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class SemiStructured:
    """What :func:`to_semi_structured` did.

    Attributes:
        converted: Names of the Linear layers whose weight is semi-structured now.
        left: Names of the other Linear layers, each with the reason.
    """

    converted: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.converted)} Linear layers are semi-structured (2:4)"]
        return "\n".join([*lines, *(f"left as it was: {name}: {reason}" for name, reason in self.left.items())])


def is_2_of_4(weight: Tensor) -> bool:
    """Whether every four neighbours along the last dimension of a matrix ``[out, in]`` hold at least two zeros."""
    if weight.dim() != 2 or not weight.numel() or weight.shape[1] % _GROUP:
        return False
    groups = weight.detach().reshape(-1, _GROUP)
    return bool((groups.count_nonzero(dim=1) <= _KEPT).all())


@torch.no_grad()
def to_semi_structured(model: nn.Module) -> SemiStructured:
    """Replace the weights of a 2:4 sparse model's Linear layers by torch's semi-structured tensors, for inference.

    The zeros and half of the index bits are dropped; products of activations with these weights run on sparse tensor
    cores. The weights take no gradient any more and are not for saving: convert a model that was loaded for inference.

    Args:
        model: In eval mode, on a CUDA device, in float16 or bfloat16. Layers that are not 2:4 stay as they are.

    Returns:
        Which layers were converted, and why others were not (their shape, for one: torch needs multiples of 32 or 64).

    Raises:
        InputError: The model is in training mode, not on a CUDA device, in another dtype, or no layer is 2:4.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"; ``torch.sparse.to_sparse_semi_structured``.
    """
    linears = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    candidates = {name: module for name, module in linears.items() if is_2_of_4(module.weight)}
    _require(model, candidates)
    converted: list[str] = []
    left = {name: "its weight is not 2:4" for name in linears if name not in candidates}
    for name, module in candidates.items():
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*SparseSemiStructuredTensor.*")
                sparse = torch.sparse.to_sparse_semi_structured(module.weight.detach())
        except (RuntimeError, ValueError) as error:
            left[name] = first_line(error)
            continue
        module.weight = nn.Parameter(sparse, requires_grad=False)
        converted.append(name)
    return SemiStructured(tuple(converted), left)


def _require(model: nn.Module, candidates: dict[str, nn.Linear]) -> None:
    if model.training:
        raise InputError("semi-structured weights take no gradient: call model.eval() first")
    if not candidates:
        raise InputError(
            "no Linear layer is 2:4 sparse (two zeros in every four neighbours along the input): train with "
            "mask_type: '2:4' and final_sparsity: 0.5, and load the result with sparsify.load_model"
        )
    for name, module in candidates.items():
        if module.weight.device.type != "cuda":
            raise InputError(
                f"{name} is on {module.weight.device}: semi-structured products need an NVIDIA GPU of compute "
                "capability 8.0 or more; model.to('cuda') first"
            )
        if module.weight.dtype not in _DTYPES:
            raise InputError(
                f"{name} is {str(module.weight.dtype).removeprefix('torch.')}: semi-structured products need float16 or "
                "bfloat16; model.half() or model.bfloat16() first"
            )
