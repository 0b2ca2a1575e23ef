"""Kill units of a model, as structured pruning does, for tests of their removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.pruning.slots import KINDS, Structure
from sparsify.pruning.structures import find_structures
from sparsify.pruning.units import weight_masks


@torch.no_grad()
def kill(model: nn.Module, going: Callable[[int, Structure], int], kinds: Any = KINDS) -> dict[str, int]:
    """Zero every other unit, ``going(index, structure)`` of them in each; returns how many each structure has left."""
    kept: dict[Structure, Tensor] = {}
    for index, structure in enumerate(find_structures(model, kinds)):
        mask = torch.ones(structure.units, dtype=torch.bool)
        order = torch.arange(structure.units).roll(-1)
        order = torch.cat([order[::2], order[1::2]])  # never a block at the front: what stays must be picked out
        mask[order[: going(index, structure)]] = False
        kept[structure] = mask
    for name, mask in weight_masks(model, kept).items():
        model.get_parameter(name).mul_(mask)
    return {structure.name: int(mask.sum()) for structure, mask in kept.items()}


def half(index: int, structure: Structure) -> int:
    """Half of the units."""
    return structure.units // 2


def uneven(index: int, structure: Structure) -> int:
    """In the first layers half, then ever less."""
    return max(structure.units // (2 + index), 0)


def tiny_vit(seed: int = 0) -> nn.Module:
    """An image classifier of two layers, hidden size 32, four heads."""
    import transformers as hf

    torch.manual_seed(seed)
    config = hf.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=4
    )
    return hf.ViTForImageClassification(config).eval()


def whole_blocks(zeros: Tensor) -> bool:
    """Whether whole blocks of four outputs by one input went."""
    grid = zeros.view(zeros.shape[0] // 4, 4, zeros.shape[1])
    return torch.equal(grid.all(1), grid.any(1))
