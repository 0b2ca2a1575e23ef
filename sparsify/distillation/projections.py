"""Learned maps from the student's width to the teacher's, where layers that are compared differ in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparsify.distributed import several_ranks
from sparsify.errors import InputError, StateError


class Projections:
    """One linear map (a 1x1 convolution for images) per pair of layers, made when its shapes are first seen.

    They are no part of the model and not in its optimizer, whose checkpoints would otherwise not load into a run that
    has not seen a batch yet. They have an AdamW of their own.
    """

    def __init__(self) -> None:
        self._maps: dict[int, nn.Linear | nn.Conv2d] = {}
        self._optimizer: torch.optim.AdamW | None = None

    def __call__(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """``student`` in the teacher's width.

        Args:
            index: Which pair of layers.
            student: [..., C], or [B, C, H, W] of a convolution.
            teacher: The same with another C.

        Raises:
            InputError: They differ in more than their width.
        """
        axis = 1 if student.dim() == 4 else student.dim() - 1
        ours, theirs = list(student.shape), list(teacher.shape)
        if len(ours) != len(theirs) or ours[:axis] + ours[axis + 1 :] != theirs[:axis] + theirs[axis + 1 :]:
            raise InputError(f"distillation: a layer gives {ours} in the student and {theirs} in the teacher")
        if index not in self._maps:
            self._add(index, ours[axis], theirs[axis], image=student.dim() == 4, device=student.device)
        projected: Tensor = self._maps[index](student)
        return projected

    def _add(self, index: int, inner: int, outer: int, *, image: bool, device: torch.device | str) -> None:
        made = nn.Conv2d(inner, outer, 1, bias=False) if image else nn.Linear(inner, outer, bias=False)
        # The same on each rank, whatever the global random state.
        generator = torch.Generator().manual_seed(index)
        bound = 1.0 / math.sqrt(inner)
        with torch.no_grad():
            made.weight.copy_(torch.empty_like(made.weight, device="cpu").uniform_(-bound, bound, generator=generator))
        self._maps[index] = made.to(device)
        if self._optimizer is None:
            self._optimizer = torch.optim.AdamW([made.weight], lr=0.0, weight_decay=0.0)
        else:
            self._optimizer.add_param_group({"params": [made.weight]})

    def step(self, learning_rate: float) -> None:
        """Learn from the gradients gathered since the last step; ones that are not finite are thrown away."""
        if self._optimizer is None:
            return
        gradients = [m.weight.grad for m in self._maps.values() if m.weight.grad is not None]
        if several_ranks():
            for gradient in gradients:
                dist.all_reduce(gradient)
                gradient /= dist.get_world_size()
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
        self._optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Weights and moments, by pair."""
        found: dict[str, Any] = {}
        for index, made in self._maps.items():
            moments = {} if self._optimizer is None else self._optimizer.state.get(made.weight, {})
            found[str(index)] = {"weight": made.weight.detach(), "moments": dict(moments)}
        return found

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Take back what ``state_dict`` gave.

        Raises:
            StateError: It is not a state of projections.
        """
        for index, saved in state.items():
            weight = saved.get("weight")
            if not isinstance(weight, Tensor) or weight.dim() not in (2, 4):
                raise StateError(f"the saved projection {index} has no weight")
            self._add(int(index), weight.shape[1], weight.shape[0], image=weight.dim() == 4, device=device)
            made = self._maps[int(index)]
            with torch.no_grad():
                made.weight.copy_(weight)
            if saved["moments"] and self._optimizer is not None:
                moments = {name: value.to(device) for name, value in saved["moments"].items() if name != "step"}
                self._optimizer.state[made.weight] = {"step": saved["moments"]["step"].cpu(), **moments}
