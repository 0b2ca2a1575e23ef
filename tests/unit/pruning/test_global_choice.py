"""Units chosen over all layers, against a reference that sorts everything."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsify.errors import InputError
from sparsify.pruning.global_choice import keep_global

FREE = (0.0, 1.0)
# few values, so that there are ties; -inf is what is gone already
LAYERS = st.lists(
    st.lists(st.sampled_from([-math.inf, -2.0, 0.0, 0.5, 1.0, 3.0]), min_size=0, max_size=8), min_size=1, max_size=4
)
TWENTIETHS = st.integers(0, 20)


def keep(
    layers: list[list[float]],
    share: float | list[float],
    bounds: tuple[float, float] = FREE,
    sizes: list[int] | None = None,
) -> list[list[bool]]:
    names = [f"layer{i}" for i in range(len(layers))]
    shares = share if isinstance(share, list) else [share] * len(layers)
    found = keep_global(
        {n: torch.tensor(units, dtype=torch.float32) for n, units in zip(names, layers, strict=True)},
        dict(zip(names, sizes or [1] * len(layers), strict=True)),
        dict(zip(names, shares, strict=True)),
        bounds,
    )
    assert list(found) == names
    assert all(kept.dtype is torch.bool for kept in found.values())
    return [kept.tolist() for kept in found.values()]


def ranked(layers: list[list[float]], bounds: tuple[int, int]) -> list[tuple[int, int]]:
    """(layer, unit) in the order in which they may go: gone ones, what a layer's least asks for, then by score."""
    order: list[tuple[int, float, int, int]] = []
    for number, units in enumerate(layers):
        fewest, most = len(units) * bounds[0] // 20, -(-len(units) * bounds[1] // 20)
        for rank, index in enumerate(sorted(range(len(units)), key=lambda i: (units[i], i))):
            if rank < most:
                kind = 0 if units[index] == -math.inf else 1 if rank < fewest else 2
                order.append((kind, units[index] if kind == 2 else 0.0, number, index))
    return [(number, index) for _, _, number, index in sorted(order)]


def allowed(layers: list[list[float]], bounds: tuple[int, int], sizes: list[int]) -> tuple[int, int]:
    """Fewest and most weights that may go, for bounds in twentieths."""
    return (
        sum(len(units) * bounds[0] // 20 * size for units, size in zip(layers, sizes, strict=True)),
        sum(-(-len(units) * bounds[1] // 20) * size for units, size in zip(layers, sizes, strict=True)),
    )


@settings(max_examples=300, deadline=None)
@given(LAYERS, TWENTIETHS, st.tuples(TWENTIETHS, TWENTIETHS).map(sorted))
def test_of_one_size_the_lowest_go_in_exact_number_between_the_bounds(
    layers: list[list[float]], share: int, twentieths: list[int]
) -> None:
    bounds = (twentieths[0], twentieths[1])
    total = sum(map(len, layers))
    count = round(share / 20 * total)
    fewest, most = allowed(layers, bounds, [1] * len(layers))
    ratios = (bounds[0] / 20, bounds[1] / 20)
    if not fewest <= count <= most:
        with pytest.raises(InputError, match=rf"^{count} of {total} units .* ask for {fewest} to {most}: change"):
            keep(layers, share / 20, ratios)
        return
    gone = set(ranked(layers, bounds)[:count])
    expected = [[(n, i) not in gone for i in range(len(units))] for n, units in enumerate(layers)]
    assert keep(layers, share / 20, ratios) == expected


@settings(max_examples=300, deadline=None)
@given(LAYERS, TWENTIETHS, st.tuples(TWENTIETHS, TWENTIETHS).map(sorted), st.data())
def test_of_different_sizes_the_nearest_number_of_weights_goes(
    layers: list[list[float]], share: int, twentieths: list[int], data: st.DataObject
) -> None:
    layers = [[max(score, -2.0) for score in units] for units in layers]  # nothing is gone yet
    sizes = [data.draw(st.sampled_from([1, 3, 10])) for _ in layers]
    bounds, total = (twentieths[0], twentieths[1]), sum(len(u) * s for u, s in zip(layers, sizes, strict=True))
    fewest, most = allowed(layers, bounds, sizes)
    asked = round(share / 20 * total)
    if len(set(sizes)) == 1 or not fewest <= asked <= most:
        return
    order = ranked(layers, bounds)
    sums = [sum(sizes[n] for n, _ in order[:end]) for end in range(len(order) + 1)]
    nearest = min(range(len(sums)), key=lambda end: (abs(sums[end] - asked), end))
    found = keep(layers, share / 20, (bounds[0] / 20, bounds[1] / 20), sizes)
    gone = {(n, i) for n, units in enumerate(found) for i, kept in enumerate(units) if not kept}
    # what the least of a layer asks for goes even where a little less would be nearer
    forced = sum(len(units) * bounds[0] // 20 for units in layers)
    assert gone == set(order[: max(nearest, forced)])
    for units in found:
        assert len(units) * bounds[0] // 20 <= units.count(False) <= -(-len(units) * bounds[1] // 20)


def test_equal_scores_go_by_layer_then_by_index() -> None:
    assert keep([[1.0, 1.0], [1.0, 1.0]], 0.75) == [[False, False], [False, True]]
    assert keep([[1.0, 1.0], [1.0, 1.0]], 0.6, sizes=[1, 2]) == [[False, False], [False, True]]


def test_of_two_numbers_of_weights_as_near_the_lower_one_goes() -> None:
    assert keep([[1.0, 1.0], [1.0, 1.0]], 0.5, sizes=[1, 2]) == [[False, False], [True, True]]  # 2 or 4 for 3 of 6


def test_how_weights_are_cut_into_layers_does_not_change_their_number() -> None:
    """A tenth of 25: 2.5, which rounds to 2; added up layer by layer, floats made it 2.5000000000000004."""
    assert sum(units.count(False) for units in keep([[0.0]] * 25, 0.1)) == round(25 * 0.1) == 2


@pytest.mark.parametrize("bounds", [(0.29, 1.0), (0.0, 0.07)])
def test_bounds_that_units_meet_are_met_whatever_floats_make_of_them(bounds: tuple[float, float]) -> None:
    """100 * 0.07 is 7.000000000000001, and 100 * 0.29 is 28.999999999999996."""
    low, high = keep(
        [[float(i) for i in range(100)], [1e3 + i for i in range(100)]], 0.05 if bounds[0] == 0 else 0.5, bounds
    )
    assert (low.count(False), high.count(False)) == ((7, 3) if bounds[0] == 0 else (71, 29))


@pytest.mark.parametrize("sizes", [[1, 1], [2, 3]])
def test_bounds_that_no_number_of_units_meets_leave_one_more_on_either_side(sizes: list[int]) -> None:
    """Three units, half of them: one or two, or no total between would do."""
    low, high = keep([[0.0, 0.1, 0.2], [5.0, 6.0, 7.0]], 0.5, (0.5, 0.5), sizes)
    assert (low, high) == ([False, False, True], [False, True, True])


def test_shares_add_up_and_scores_decide() -> None:
    assert keep([[5.0, 6.0], [0.0, 1.0, 2.0, 3.0]], [1.0, 0.25]) == [[True, True], [False, False, False, True]]


@pytest.mark.parametrize("sizes", [[1, 1], [2, 5]])
def test_all_or_nothing(sizes: list[int]) -> None:
    layers = [[1.0, -3.0], [0.0, 2.0, 4.0]]
    assert keep(layers, 0.0, sizes=sizes) == [[True] * 2, [True] * 3]
    assert keep(layers, 1.0, sizes=sizes) == [[False] * 2, [False] * 3]


def test_nothing_to_choose_from() -> None:
    assert keep_global({}, {}, {}, FREE) == {}
    assert keep([[]], 0.5) == [[]]
    assert keep([[], [1.0, 2.0]], 0.5, sizes=[7, 2]) == [[], [False, True]]


def test_what_a_least_asks_for_goes_behind_what_is_gone_and_before_all_else() -> None:
    held = [-math.inf, 9.0, 9.0, 9.0]
    assert keep([held, [50.0, 60.0, 70.0, 80.0]], 0.25, (0.25, 1.0)) == [
        [False, True, True, True],
        [False, *[True] * 3],
    ]


def test_gone_units_come_back_only_where_the_total_is_half_a_unit_lower() -> None:
    gone = [[-math.inf], [-math.inf], [1.0]]
    sizes = [100, 10, 40]
    assert keep(gone, [0.6, 0.0, 0.0], sizes=sizes) == [[False], [False], [True]]  # 60 of 110: within half of 100
    assert keep(gone, [0.59, 0.0, 0.0], sizes=sizes) == [[False], [True], [True]]


@settings(max_examples=100, deadline=None)
@given(LAYERS, TWENTIETHS, st.integers(0, 2**31))
def test_scores_are_not_changed(layers: list[list[float]], share: int, seed: int) -> None:
    units = {f"layer{i}": torch.tensor(part, dtype=torch.float32) for i, part in enumerate(layers)}
    before: dict[str, Tensor] = {name: part.clone() for name, part in units.items()}
    keep_global(units, {n: 1 + (seed >> i) % 3 for i, n in enumerate(units)}, dict.fromkeys(units, share / 20), FREE)
    assert all(torch.equal(units[name], before[name]) for name in units)
