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
from torch import Tensor

from sparsify.errors import InputError

REDUCTIONS = ("mean", "sum", "max")


class Pattern(Protocol):
    """A way to cut weights into units that are pruned as one."""

    @property
    def ratio(self) -> float:
        """Fraction of a unit's weights that are zero once it is pruned: the highest sparsity there is."""

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Why a weight of this shape cannot be cut so, and what would do; None if it can."""

    def unit_size(self, shape: Sequence[int]) -> int:
        """Weights in one unit of a weight of this shape."""

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """Score of each unit, flat, in index order."""

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """True where a weight stays, in the shape of ``score``, given which units stay whole."""


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

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """The kept units in the weight's shape."""
        return kept.view(score.shape)


@dataclass(frozen=True)
class Block:
    """Blocks of ``rows`` outputs by ``columns`` inputs; -1 is the whole dimension."""

    rows: int
    columns: int
    ratio: float = 1.0

    def misfit(self, shape: Sequence[int]) -> str | None:
        """Both dimensions must be multiples of the block's."""
        if len(shape) < 2:
            return f"a block needs a weight of two or more dimensions, this one is {list(shape)}"
        height, width = _matrix_shape(shape)
        rows, columns = self._size(shape)
        if height % rows == 0 and width % columns == 0:
            return None
        fits = [f"[{r}, {c}]" for r, c in ((1, 4), (4, 1), (4, 4), (1, 2), (2, 1)) if not height % r and not width % c]
        choices = ", ".join(fits) or "none"
        return f"[{rows}, {columns}] blocks do not divide {height} x {width}; blocks that do: {choices}"

    def unit_size(self, shape: Sequence[int]) -> int:
        """Rows times columns."""
        rows, columns = self._size(shape)
        return rows * columns

    def units(self, score: Tensor, reduce: str) -> Tensor:
        """Mean, sum or maximum of each block."""
        rows, columns = self._size(score.shape)
        matrix = _as_matrix(score)
        grid = matrix.reshape(matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns)
        if reduce == "max":
            return grid.amax(dim=(1, 3)).reshape(-1)
        return (grid.mean(dim=(1, 3)) if reduce == "mean" else grid.sum(dim=(1, 3))).reshape(-1)

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """Each kept block spread over its weights."""
        height, width = _matrix_shape(score.shape)
        rows, columns = self._size(score.shape)
        grid = kept.view(height // rows, 1, width // columns, 1).expand(-1, rows, -1, columns)
        return _from_matrix(grid.reshape(height, width), score.shape)

    def _size(self, shape: Sequence[int]) -> tuple[int, int]:
        height, width = _matrix_shape(shape)
        return (height if self.rows < 0 else self.rows), (width if self.columns < 0 else self.columns)


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

    def mask(self, score: Tensor, kept: Tensor) -> Tensor:
        """All of a kept group, the ``keep`` highest of a cut one (on ties the later)."""
        groups = _as_matrix(score).reshape(-1, self.group)
        going = groups.argsort(dim=-1, stable=True)[:, : self.group - self.keep]
        mask = torch.ones_like(groups, dtype=torch.bool).scatter_(1, going, False)
        return _from_matrix((mask | kept[:, None]).reshape(_matrix_shape(score.shape)), score.shape)


def parse_pattern(value: str | Sequence[int]) -> Pattern:
    """Pattern of a recipe's ``mask_type``.

    Args:
        value: ``unstructured``; ``block4`` (four neighbours along the input); ``N:M``, keeping N of each M
            (``tensorrt`` is 2:4); or ``[R, C]`` for blocks of R outputs by C inputs, -1 for a whole dimension.

    Raises:
        ValueError: It is none of these.
    """
    named: dict[str, Pattern] = {"unstructured": Unstructured(), "block4": Block(1, 4), "tensorrt": NofM(2, 4)}
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+):(\d+)", value.strip())
        if match and 0 < int(match[1]) < int(match[2]):
            return NofM(int(match[1]), int(match[2]))
        if value in named:
            return named[value]
    elif len(value) == 2 and all(_is_extent(extent) for extent in value):
        return Block(value[0], value[1])
    raise ValueError(
        f"unknown mask type {value!r}: 'unstructured', 'block4', 'N:M' with 0 < N < M such as '2:4' (keeps N of "
        "each M), or a block [R, C] of R outputs by C inputs such as [4, 1] (-1 for a whole dimension)"
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


def _as_matrix(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1).reshape(_matrix_shape(tensor.shape))


def _from_matrix(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    return matrix.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()
