from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsify.pruning.order import all_finite, keep_highest, kth_smallest

values = st.floats(width=32, allow_nan=False)
parts = st.lists(st.lists(values, max_size=12), min_size=1, max_size=4).filter(lambda ps: sum(map(len, ps)) > 0)


def tensors(lists: list[list[float]]) -> list[Tensor]:
    return [torch.tensor(part, dtype=torch.float32) for part in lists]


@settings(max_examples=200, deadline=None)
@given(parts, st.data())
def test_kth_smallest_is_that_of_the_sorted_whole(lists: list[list[float]], data: st.DataObject) -> None:
    whole = sorted(float(v) for part in tensors(lists) for v in part)
    k = data.draw(st.integers(1, len(whole)))
    assert float(kth_smallest(tensors(lists), k)) == whole[k - 1]


@settings(max_examples=200, deadline=None)
@given(parts, st.integers(-1, 50))
def test_keep_highest_drops_the_first_of_a_stable_sort(lists: list[list[float]], count: int) -> None:
    made = tensors(lists)
    flat = torch.cat(made) + 0.0  # -0.0 is 0.0
    expected = torch.ones(len(flat), dtype=torch.bool)
    expected[flat.argsort(stable=True)[: max(count, 0)]] = False
    found = keep_highest(made, count)
    assert [len(f) for f in found] == [len(m) for m in made]
    assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_large_and_tied(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    made = [torch.randint(0, levels, (n,), generator=generator).float() / 7 - 3 for n in (70_000, 1, 130_000)]
    flat = torch.cat(made)
    for count in (1, 99_999, 200_000):
        expected = torch.ones(len(flat), dtype=torch.bool)
        expected[flat.argsort(stable=True)[:count]] = False
        assert torch.equal(torch.cat(keep_highest(made, count)), expected)


def test_infinities_are_the_ends() -> None:
    made = [torch.tensor([0.0, float("inf"), -1.0]), torch.tensor([float("-inf"), 5.0])]
    assert [k.tolist() for k in keep_highest(made, 1)] == [[True, True, True], [False, True]]
    assert [k.tolist() for k in keep_highest(made, 4)] == [[False, True, False], [False, False]]


def test_views_that_are_not_contiguous() -> None:
    matrix = torch.arange(12.0).view(3, 4)
    assert float(kth_smallest([matrix.t()[1]], 2)) == 5.0


@pytest.mark.parametrize(
    ("bad", "finite"), [(1.0, True), (float("nan"), False), (float("inf"), False), (-float("inf"), False)]
)
def test_all_finite(bad: float, finite: bool) -> None:
    assert all_finite(torch.tensor([[0.0, bad], [1.0, 2.0]])) is finite
    assert all_finite(torch.zeros(0))
