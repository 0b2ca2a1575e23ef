"""Sparse tensors as their nonzero values and one bit for each place: the layout that compressed-tensors calls sparse-bitmask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PARTS = ("compressed", "bitmask", "shape", "row_offsets")


def pack(values: Tensor) -> dict[str, Tensor]:
    """Take a tensor apart.

    Args:
        values: [rows, ...], at least two dimensions; what follows the first is taken as one.

    Returns:
        ``compressed``, the values that are not zero, row by row; ``bitmask`` [rows, ceil(columns / 8)] uint8, least
        significant bit first, 1 where a value is; ``shape``; and ``row_offsets`` [rows], where in ``compressed`` each
        row begins.
    """
    flat = values.detach().reshape(len(values), -1)
    there = flat != 0
    counts = there.sum(dim=1)
    bits = np.packbits(there.cpu().numpy(), axis=1, bitorder="little")
    return {
        "compressed": flat[there],
        "bitmask": torch.from_numpy(bits),
        "shape": torch.tensor(values.shape),
        "row_offsets": counts.cumsum(0) - counts,
    }


def unpack(parts: dict[str, Tensor]) -> Tensor:
    """The tensor that ``pack`` took apart.

    Raises:
        ValueError: The parts do not belong together.
    """
    shape = [int(size) for size in parts["shape"]]
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"a shape of {shape}")
    columns = int(np.prod(shape[1:]))
    bits, found = parts["bitmask"], parts["compressed"]
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (shape[0], -(-columns // 8)):
        raise ValueError(f"a bitmask of {tuple(bits.shape)} for a shape of {shape}")
    there = torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=columns, bitorder="little").astype(bool))
    if int(there.sum()) != found.numel():
        raise ValueError(f"{found.numel()} values for {int(there.sum())} bits")
    flat = torch.zeros(shape[0], columns, dtype=found.dtype)
    flat[there] = found
    return flat.view(shape)


def packed_bytes(values: Tensor) -> int:
    """Bytes that ``pack`` needs for a tensor."""
    rows, columns = len(values), values.shape[1:].numel()
    found = int(torch.count_nonzero(values)) * values.element_size()
    return found + rows * -(-columns // 8) + 8 * (rows + values.ndim)
