"""Sparse tensors apart and together again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsify.pruning.bitmask import pack, packed_bytes, unpack

DTYPES = (torch.float32, torch.bfloat16, torch.int8)


def sparse(rows: int, columns: int, share: float, dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-9, 9, (rows, columns), generator=generator)
    return values.masked_fill(torch.rand(rows, columns, generator=generator) < share, 0).to(dtype)


@given(st.integers(1, 9), st.integers(1, 40), st.floats(0, 1), st.sampled_from(DTYPES), st.integers(0, 99))
def test_what_is_taken_apart_comes_together(
    rows: int, columns: int, share: float, dtype: torch.dtype, seed: int
) -> None:
    values = sparse(rows, columns, share, dtype, seed)
    parts = pack(values)
    again = unpack(parts)
    assert again.dtype == dtype
    assert torch.equal(again, values)
    assert packed_bytes(values) == sum(part.numel() * part.element_size() for part in parts.values())


def test_the_layout_by_hand() -> None:
    parts = pack(torch.tensor([[0.0, 1.0, 0, 0, 0, 0, 0, 0, 2.0], [3.0, 0, 0, 0, 0, 0, 0, 0, 0]]))
    assert parts["compressed"].tolist() == [1.0, 2.0, 3.0]
    assert parts["bitmask"].tolist() == [[0b10, 0b1], [0b1, 0]]
    assert parts["shape"].tolist() == [2, 9]
    assert parts["row_offsets"].tolist() == [0, 2]


def test_filters_keep_their_shape() -> None:
    values = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2).float()
    assert torch.equal(unpack(pack(values)), values)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": torch.tensor([2])}, {"shape": torch.tensor([3, 9])}, {"shape": torch.tensor([2, 17])},
        {"compressed": torch.ones(2)}, {"bitmask": torch.zeros(2, 2, dtype=torch.int8)},
    ],
)  # fmt: skip
def test_parts_that_do_not_belong_together(change: dict[str, torch.Tensor]) -> None:
    parts = pack(sparse(2, 9, 0.5, torch.float32, 0)) | change
    with pytest.raises(ValueError, match=r"for|shape"):
        unpack(parts)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0, 3, 3)])
def test_what_has_no_elements_is_not_smaller_in_parts(shape: tuple[int, ...]) -> None:
    assert packed_bytes(torch.zeros(shape)) >= 0
