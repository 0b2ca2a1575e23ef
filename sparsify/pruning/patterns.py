"""Which weights must go together: single weights, blocks, N of M.

A pattern sees a weight as a matrix ``[out, in]``: a convolution's ``[out, in, *kernel]`` is laid out as
``[out, kernel * in]`` with the input channels next to each other. It cuts that matrix into units, scores them, and
turns "these units go" back into a mask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sparsify.errors import InputError

REDUCTIONS = ("mean", "sum", "max")


class Pattern(Protocol):
    """A way to cut weights into units that are pruned as one."""

    @property
    def ratio(self) -> float:
        """Fraction of a unit's weights that are zero once it is pruned: the highest sparsity there is."""

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Why a weight of this shape cannot be cut so, and what would do; None if it can, or has no elements."""

    def unit_size(self, shape: Sequence[int]) -> int:
        """Weights in one unit of a weight of this shape."""

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """Score of each unit, flat, in index order."""

    def gone(self, mask: Tensor) -> Tensor:
        """True for each unit that has no more weights in ``mask`` (True = kept) than a pruned one, flat."""

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """True where a weight stays, in the shape of ``score``, given which units stay whole."""

    def spread(self, shape: Sequence[int], units: Tensor) -> Tensor:
        """A value for each unit as one for each weight, in the weight's shape."""


@dataclass(frozen=True)
class Unstructured:
    """Each weight for itself."""

    ratio: float = 1.0

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Fits any shape."""
        return None

    def unit_size(self, shape: Sequence[int]) -> int:
        """One."""
        return 1

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """The scores themselves."""
        return score.reshape(-1)

    def gone(self, mask: Tensor) -> Tensor:
        """The masked weights."""
        return ~mask.reshape(-1)

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """The kept units in the weight's shape."""
        return kept.view(score.shape)

    def spread(self, shape: Sequence[int], units: Tensor) -> Tensor:
        """The units in the weight's shape."""
        return units.view(torch.Size(shape))


@dataclass(frozen=True)
class Block:
    """Blocks of ``rows`` outputs by ``columns`` inputs; -1 is the whole dimension."""

    rows: int
    columns: int
    ratio: float = 1.0

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Both dimensions must be multiples of the block's."""
        if 0 in shape:
            return None
        if len(shape) < 2:
            return f"a block needs a weight of two or more dimensions, this one is {list(shape)}"
        height, width = _matrix_shape(shape)
        rows, columns = self.size(shape)
        if height % rows == 0 and width % columns == 0:
            return None
        fits = [f"[{r}, {c}]" for r, c in ((1, 4), (4, 1), (4, 4), (1, 2), (2, 1)) if not height % r and not width % c]
        choices = ", ".join(fits) or "none"
        return f"[{rows}, {columns}] blocks do not divide {height} x {width}; blocks that do: {choices}"

    def unit_size(self, shape: Sequence[int]) -> int:
        """Rows times columns."""
        rows, columns = self.size(shape)
        return rows * columns

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """Mean, sum or maximum of each block."""
        rows, columns = self.size(score.shape)
        matrix = _as_matrix(score)
        grid = matrix.reshape(matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns)
        if reduce == "max":
            return grid.amax(dim=(1, 3)).reshape(-1)
        return (grid.mean(dim=(1, 3)) if reduce == "mean" else grid.sum(dim=(1, 3))).reshape(-1)

    def gone(self, mask: Tensor) -> Tensor:
        """Blocks without a weight left."""
        return ~self.units(mask, "max")

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """Each kept block spread over its weights."""
        return self.spread(score.shape, kept)

    def spread(self, shape: Sequence[int], units: Tensor) -> Tensor:
        """Each block's value on all of its weights."""
        height, width = _matrix_shape(shape)
        rows, columns = self.size(shape)
        grid = units.view(height // rows, 1, width // columns, 1).expand(-1, rows, -1, columns)
        return _from_matrix(grid.reshape(height, width), shape)

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of a block of a weight of this shape, at least 1."""
        height, width = (max(extent, 1) for extent in _matrix_shape(shape))
        return (height if self.rows < 0 else self.rows), (width if self.columns < 0 else self.columns)


@dataclass(frozen=True)
class Padded:
    """A block or N:M pattern over a weight that it does not divide: the last units reach beyond the edge.

    Counts are of units: those at the edge have fewer weights. What lies beyond the edge counts as zero for N:M.
    """

    inner: Block | NofM

    @property
    def ratio(self) -> float:
        """Of the pattern inside."""
        return self.inner.ratio

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Only a weight without a second dimension does not fit."""
        return self.inner.misfit(self._padded(shape)) if len(shape) > 1 else self.inner.misfit(shape)

    def unit_size(self, shape: Sequence[int]) -> int:
        """Of a whole unit."""
        return self.inner.unit_size(self._padded(shape))

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """Scores of the units, of the weights that are there alone."""
        if isinstance(self.inner, NofM):
            return self.inner.units(self._pad(score, _beyond(score)), reduce)
        units = self.inner.units(self._pad(score, -torch.inf if reduce == "max" else 0.0), reduce)
        if reduce != "mean":
            return units
        return units / self.inner.units(self._pad(torch.ones_like(score), 0.0), "mean")

    def gone(self, mask: Tensor) -> Tensor:
        """What lies beyond the edge is no weight."""
        return self.inner.gone(self._pad(mask, 0.0))

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """The inner pattern's mask without what lies beyond the edge."""
        return self._cut(self.inner.mask(self._pad(score, _beyond(score)), kept), score.shape)

    def spread(self, shape: Sequence[int], units: Tensor) -> Tensor:
        """Each unit's value on those of its weights that are there."""
        return self._cut(self.inner.spread(self._padded(shape), units), shape)

    def _cut(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        height, width = _matrix_shape(shape)
        return _from_matrix(matrix[:height, :width].contiguous(), shape)

    def _padded(self, shape: Sequence[int]) -> tuple[int, int]:
        height, width = _matrix_shape(shape)
        if isinstance(self.inner, NofM):
            return height, -(-width // self.inner.group) * self.inner.group
        rows, columns = self.inner.size(shape)
        return -(-height // rows) * rows, -(-width // columns) * columns

    def _pad(self, score: Tensor, beyond: float) -> Tensor:
        matrix = _as_matrix(score)
        height, width = self._padded(score.shape)
        return nn.functional.pad(matrix, (0, width - matrix.shape[1], 0, height - matrix.shape[0]), value=beyond)


@dataclass(frozen=True)
class NofM:
    """At most ``keep`` of each ``group`` neighbours along the inputs; a group is whole or cut down to ``keep``."""

    keep: int
    group: int

    @property
    def ratio(self) -> float:
        """Share of a group that goes."""
        return 1.0 - self.keep / self.group

    def misfit(self, shape: Sequence[int]) -> str | None:
        """The inputs must be a multiple of the group."""
        if 0 in shape:
            return None
        if len(shape) < 2:
            return f"{self.keep}:{self.group} needs a weight of two or more dimensions, this one is {list(shape)}"
        width = _matrix_shape(shape)[1]
        if width % self.group == 0:
            return None
        return f"{self.keep}:{self.group} groups do not divide {width} inputs; 'unstructured' always fits"

    def unit_size(self, shape: Sequence[int]) -> int:
        """The group."""
        return self.group

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """What cutting each group costs: the sum of the scores that would go."""
        lowest = _as_matrix(score).reshape(-1, self.group).sort(dim=-1).values
        return lowest[:, : self.group - self.keep].sum(dim=-1)

    def gone(self, mask: Tensor) -> Tensor:
        """Groups that keep no more than ``keep``."""
        return _as_matrix(mask).reshape(-1, self.group).sum(dim=-1) <= self.keep

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """All of a kept group, the ``keep`` highest of a cut one (on ties the later)."""
        groups = _as_matrix(score).reshape(-1, self.group)
        going = groups.argsort(dim=-1, stable=True)[:, : self.group - self.keep]
        mask = torch.ones_like(groups, dtype=torch.bool).scatter_(1, going, False)
        return _from_matrix((mask | kept[:, None]).reshape(_matrix_shape(score.shape)), score.shape)

    def spread(self, shape: Sequence[int], units: Tensor) -> Tensor:
        """Each group's value on all of its weights."""
        return Block(1, self.group).spread(shape, units)


def parse_pattern(value: str | Sequence[int], pad: bool = False) -> Pattern:
    """Pattern of a recipe's ``mask_type``.

    Args:
        value: ``unstructured``; ``block4`` (four neighbours along the input); ``N:M``, keeping N of each M
            (``tensorrt`` is 2:4); ``[R, C]`` or ``RxC`` for blocks of R outputs by C inputs, -1 or ``channel`` for a
            whole dimension (``1xchannel``: whole rows, ``channelx1``: whole columns); ``filter``: all of an output.
        pad: Whether it also takes weights that it does not divide, with shorter units at the edge.

    Raises:
        ValueError: It is none of these.
    """
    pattern = _parsed(value)
    return Padded(pattern) if pad and isinstance(pattern, Block | NofM) else pattern


def _parsed(value: str | Sequence[int]) -> Pattern:
    named: dict[str, Pattern] = {
        "unstructured": Unstructured(),
        "block4": Block(1, 4),
        "tensorrt": NofM(2, 4),
        "filter": Block(1, -1),
    }
    if isinstance(value, str):
        block = re.fullmatch(r"([1-9]\d*|channel)x([1-9]\d*|channel)", value.strip().lower())
        if block:
            rows, columns = (-1 if extent == "channel" else int(extent) for extent in block.groups())
            return Unstructured() if (rows, columns) == (1, 1) else Block(rows, columns)
        match = re.fullmatch(r"(\d+):(\d+)", value.strip())
        if match and 0 < int(match[1]) < int(match[2]):
            return NofM(int(match[1]), int(match[2]))
        if value in named:
            return named[value]
    elif len(value) == 2 and all(_is_extent(extent) for extent in value):
        return Block(value[0], value[1])
    raise ValueError(
        f"unknown mask type {value!r}: 'unstructured', 'block4', 'N:M' with 0 < N < M such as '2:4' (keeps N of "
        "each M), a block [R, C] of R outputs by C inputs such as [4, 1] or "
        "'4x1' (-1 or 'channel' for a whole dimension), or 'filter'"
    )


def check_fit(pattern: Pattern, name: str, shape: Sequence[int]) -> None:
    """Raise InputError, naming the parameter and what to do, if ``pattern`` cannot cut ``shape``."""
    reason = pattern.misfit(shape)
    if reason:
        raise InputError(f"{name}: {reason}; or leave {name} out of params")


def _is_extent(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value > 0 or value == -1)


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    width = 1
    for extent in shape[1:]:
        width *= extent
    return shape[0], width


def _beyond(score: Tensor) -> float:
    """Score of what lies beyond the edge for N:M: it goes before any real weight."""
    return min(0.0, float(score.min())) - 1.0


def _as_matrix(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1).reshape(_matrix_shape(tensor.shape))


def _from_matrix(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    return matrix.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()
