"""Other devices, played on the CPU: tensors that say where they lie, and refuse to meet those that lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]


class Placed(Tensor):
    """A CPU tensor that says it lies on ``place``."""

    place: torch.device

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func == _DEVICE:
            return args[0].place
        met = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        # As torch has it: a single number on the CPU goes with any device.
        places = {leaf.device for leaf in met if leaf.device.type != "cpu" or leaf.dim()}
        if len(places) > 1:
            raise RuntimeError(f"{func}: expected all tensors on one device, got {places}")
        home = places.pop() if places else torch.device("cpu")
        if func is Tensor.to and isinstance(args[1], torch.device):
            func, args, home = Tensor.clone, (args[0],), args[1]
        found = super().__torch_function__(func, types, args, options)
        return tree_map(lambda leaf: placed(leaf, home) if isinstance(leaf, Tensor) else leaf, found)


class PlayedDevices(TorchFunctionMode):
    """Inside, ``device=`` may name a played device where tensors are made, and CPU tensors may go to one."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        home = args[1] if func is Tensor.to and isinstance(args[1], torch.device) else options.get("device")
        if not isinstance(home, torch.device) or (isinstance(args[0], Tensor) and type(args[0]) is not Tensor):
            return func(*args, **options)
        if func is Tensor.to:
            return placed(args[0].clone(), home)
        return placed(func(*args, **options | {"device": "cpu"}), home)


def placed(tensor: Tensor, place: torch.device | str) -> Tensor:
    """``tensor`` as one that lies on ``place``; on the CPU a plain one."""
    home = torch.device(place)
    kind = Tensor if home.type == "cpu" else Placed
    made = tensor if type(tensor) is kind else tensor.as_subclass(kind)
    if isinstance(made, Placed):
        made.place = home
    return made
