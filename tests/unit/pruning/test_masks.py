from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsify.errors import InputError
from sparsify.pruning import compute_masks
from sparsify.pruning.masks import partial_masks
from tests.helpers.devices import PlayedDevices, placed

PATTERNS: list[str | list[int]] = ["unstructured", "block4", [4, 1], [2, 2], "2:4", "1:4", [1, -1]]


def scores(
    seed: int, levels: int = 0, shapes: tuple[tuple[int, int], ...] = ((8, 16), (4, 8), (12, 4))
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {f"w{i}": torch.rand(shape, generator=generator) for i, shape in enumerate(shapes)}
    return {n: (s * levels).round() for n, s in made.items()} if levels else made


def zeros(mask: Tensor) -> int:
    return int((~mask).sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.sampled_from([0, 1, 3]))
def test_unstructured_layer_counts_are_exact_and_the_lowest_go(seed: int, sparsity: float, levels: int) -> None:
    given_scores = scores(seed, levels)
    for name, mask in compute_masks(given_scores, sparsity).items():
        score = given_scores[name]
        assert mask.dtype is torch.bool
        assert zeros(mask) == round(score.numel() * sparsity)
        if 0 < zeros(mask) < score.numel():
            assert score[~mask].max() <= score[mask].min()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.sampled_from([0, 1, 3]))
def test_unstructured_global_counts_are_exact_over_all(seed: int, sparsity: float, levels: int) -> None:
    given_scores = scores(seed, levels)
    masks = compute_masks(given_scores, sparsity, scope="global")
    total = sum(s.numel() for s in given_scores.values())
    assert sum(map(zeros, masks.values())) == round(total * sparsity)
    gone = torch.cat([given_scores[n][~m] for n, m in masks.items()])
    kept = torch.cat([given_scores[n][m] for n, m in masks.items()])
    if len(gone) and len(kept):
        assert gone.max() <= kept.min()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.sampled_from(PATTERNS), st.sampled_from(["layer", "global"]))
def test_more_sparsity_only_adds_zeros(seed: int, share: float, pattern: str | list[int], scope: str) -> None:
    most = {"2:4": 0.5, "1:4": 0.75}.get(str(pattern), 1.0)
    given_scores = scores(seed, levels=seed % 4)
    less = compute_masks(given_scores, share * most / 2, pattern, scope)  # type: ignore[arg-type]
    more = compute_masks(given_scores, share * most, pattern, scope)  # type: ignore[arg-type]
    for name in given_scores:
        assert not (more[name] & ~less[name]).any()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_ties_go_by_index(scope: str) -> None:
    given_scores = {"a": torch.zeros(2, 4), "b": torch.zeros(2, 4)}
    masks = compute_masks(given_scores, 0.25, scope=scope)  # type: ignore[arg-type]
    expected_a = [False] * (2 if scope == "layer" else 4)
    assert masks["a"].flatten().tolist() == expected_a + [True] * (8 - len(expected_a))
    assert zeros(masks["b"]) == (2 if scope == "layer" else 0)


def test_ties_within_a_group_go_by_index() -> None:
    assert compute_masks({"w": torch.ones(1, 4)}, 0.5, "2:4")["w"].tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("pattern", ["block4", [4, 1], [2, 2], [4, 4]])
def test_blocks_are_whole_and_counted_exactly(pattern: str | list[int]) -> None:
    given_scores = scores(3, shapes=((8, 16), (16, 8)))
    rows, columns = (1, 4) if pattern == "block4" else pattern  # type: ignore[misc]
    for name, mask in compute_masks(given_scores, 0.6, pattern).items():
        height, width = mask.shape
        blocks = mask.view(height // rows, rows, width // columns, columns).transpose(1, 2).flatten(2)  # type: ignore[operator]
        assert torch.equal(blocks.all(-1), blocks.any(-1)), name
        assert int((~blocks.all(-1)).sum()) == round(blocks.shape[0] * blocks.shape[1] * 0.6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 0.5), st.sampled_from(["layer", "global"]))
def test_gradual_n_of_m_cuts_whole_groups(seed: int, sparsity: float, scope: str) -> None:
    given_scores = scores(seed)
    masks = compute_masks(given_scores, sparsity, "2:4", scope)  # type: ignore[arg-type]
    per_group = torch.cat([m.reshape(-1, 4).sum(1) for m in masks.values()])
    assert set(per_group.tolist()) <= {2, 4}
    if sparsity >= 0.49:
        assert (per_group == 2).all()
    elif scope == "global":
        assert int((per_group == 2).sum()) == round(len(per_group) * sparsity / 0.5)


def test_n_of_m_refuses_more_than_its_ratio() -> None:
    with pytest.raises(InputError, match=r"w0: sparsity 0.8 must lie between 0 and 0.5"):
        compute_masks(scores(0), 0.8, "2:4")


def test_reductions_choose_different_blocks() -> None:
    score = torch.tensor([[0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0, 1.0]])
    by = {
        r: compute_masks({"w": score}, 0.5, "block4", block_reduce=r)["w"][0, ::4].tolist()
        for r in ("mean", "sum", "max")
    }
    assert by == {"mean": [False, True], "sum": [False, True], "max": [True, False]}


def test_each_layer_its_own_sparsity() -> None:
    given_scores = scores(1)
    masks = compute_masks(given_scores, {"w0": 0.5, "w1": 0.25, "w2": 0.0})
    assert [zeros(m) for m in masks.values()] == [64, 8, 0]
    together = compute_masks(given_scores, {"w0": 0.5, "w1": 0.25, "w2": 0.0}, scope="global")
    assert sum(map(zeros, together.values())) == 72
    with pytest.raises(InputError, match="no sparsity is given for w2"):
        compute_masks(given_scores, {"w0": 0.5, "w1": 0.25})


def test_layer_bounds_hold_and_the_total_stays() -> None:
    given_scores = {"low": torch.rand(8, 8) * 0.1, "high": torch.rand(8, 8) + 1.0}
    free = compute_masks(given_scores, 0.5, scope="global")
    assert [zeros(m) for m in free.values()] == [64, 0]
    bounded = compute_masks(given_scores, 0.5, scope="global", min_layer_sparsity=0.2, max_layer_sparsity=0.75)
    assert [zeros(m) for m in bounded.values()] == [48, 16]
    floor = compute_masks(given_scores, 0.5, scope="global", min_layer_sparsity=0.5)
    assert [zeros(m) for m in floor.values()] == [32, 32]
    clamped = compute_masks(given_scores, 0.9, min_layer_sparsity=0.1, max_layer_sparsity=0.5)
    assert [zeros(m) for m in clamped.values()] == [32, 32]
    with pytest.raises(InputError, match="layer bounds"):
        compute_masks(given_scores, 0.9, scope="global", max_layer_sparsity=0.5)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(("pattern", "sparsity", "most"), [("1:3", 0.66, 0.66), ("2:4", 0.497, 0.498)])
def test_bounds_are_read_with_the_slack_of_the_sparsity(scope: str, pattern: str, sparsity: float, most: float) -> None:
    width = int(pattern[-1])
    given_scores = scores(0, shapes=((100, width), (100, width)))
    masks = compute_masks(given_scores, sparsity, pattern, scope, max_layer_sparsity=most)  # type: ignore[arg-type]
    assert [zeros(m) for m in masks.values()] == [200, 200]


def test_global_rows_of_different_length_come_nearest_to_the_total() -> None:
    given_scores = {"wide": torch.rand(10, 30) + 1.0, "narrow": torch.rand(10, 3)}
    masks = compute_masks(given_scores, 0.5, [1, -1], "global")
    assert zeros(masks["narrow"]) == 30
    assert abs(sum(map(zeros, masks.values())) - 165) <= 15


def test_layer_bounds_hold_where_units_differ_in_size() -> None:
    given_scores = {"narrow": torch.rand(10, 4) + 1.0, "wide": torch.rand(10, 400) * 0.01}
    for sparsity in (0.3, 0.5, 0.7):
        masks = compute_masks(given_scores, sparsity, "filter", "global", "mean", 0.3, 0.7)
        assert all(0.3 <= zeros(mask) / mask.numel() <= 0.7 for mask in masks.values()), sparsity
        assert abs(sum(map(zeros, masks.values())) - 4040 * sparsity) <= 200
    for sparsity, asked in ((0.1, 404), (0.9, 3636)):
        with pytest.raises(InputError, match=rf"{asked} of 4040 weights .* layer bounds ask for 1212 to 2828"):
            compute_masks(given_scores, sparsity, "filter", "global", "mean", 0.3, 0.7)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 1000),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)).map(sorted),
    st.sampled_from([*PATTERNS, "filter", [-1, 1]]),
    st.sampled_from(["layer", "global"]),
    st.sampled_from(["mean", "sum", "max"]),
    st.sampled_from([(0.0, 1.0), (0.2, 0.9)]),
)
def test_what_is_masked_stays_masked_whatever_the_scores(
    seed: int,
    shares: list[float],
    pattern: str | list[int],
    scope: str,
    reduce: str,
    bounds: tuple[float, float],
) -> None:
    most = {"2:4": 0.5, "1:4": 0.75}.get(str(pattern), 1.0)
    least, highest = (bound * most for bound in bounds)
    held: dict[str, Tensor] = {}
    for step, share in enumerate(shares):
        signed = {
            n: s * 4 - 3 for n, s in scores(seed + step, levels=seed % 3, shapes=((8, 16), (4, 200), (12, 4))).items()
        }
        target = least + share * (highest - least)
        found = compute_masks(signed, target, pattern, scope, reduce, least, highest, held=held)  # type: ignore[arg-type]
        for name, mask in held.items():
            assert not (found[name] & ~mask).any(), (step, name)
        held = found


def test_a_small_masked_row_goes_before_the_sum_of_a_wide_one() -> None:
    """Movement: all scores below zero, so that the sum of a wide row lies below that of any narrow one."""
    given_scores = {"narrow": -torch.ones(2, 4), "wide": -torch.ones(2, 100)}
    held = {"narrow": torch.tensor([[False], [True]]).expand(2, 4)}
    masks = compute_masks(given_scores, 0.5, "filter", "global", "sum", held=held)
    assert masks["narrow"].all(1).tolist() == [False, True]
    assert masks["wide"].all(1).tolist() == [False, True]


def test_masked_rows_stay_where_fewer_of_them_would_be_nearer_to_the_total() -> None:
    given_scores = {"wide": torch.ones(1, 100), "narrow": torch.zeros(1, 10), "rest": torch.ones(1, 40) * 2}
    first = compute_masks(given_scores, 61 / 150, "filter", "global")
    assert [zeros(mask) for mask in first.values()] == [100, 10, 0]
    again = compute_masks(given_scores, 62 / 150, "filter", "global", held=first)
    assert [zeros(mask) for mask in again.values()] == [100, 10, 0]


def test_scores_are_changed_only_where_that_is_allowed() -> None:
    given_scores = scores(0)
    held = compute_masks(given_scores, 0.25)
    before = {name: score.clone() for name, score in given_scores.items()}
    masks = compute_masks(given_scores, 0.5, held=held)
    assert all(torch.equal(score, before[name]) for name, score in given_scores.items())
    overwritten = compute_masks(given_scores, 0.5, held=held, overwrite=True)
    assert all(torch.equal(overwritten[name], mask) for name, mask in masks.items())
    assert not any(torch.equal(score, before[name]) for name, score in given_scores.items())


def test_a_block_that_is_masked_in_part_goes_early() -> None:
    """As a cut of the inputs leaves it, which moves the blocks' borders."""
    given_scores = {"w": torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.9, 0.9, 0.9, 0.9], [2.0, 2.0, 2.0, 2.0]])}
    held = {"w": torch.tensor([[True] * 4, [True] * 4, [True, True, False, False]])}
    assert compute_masks(given_scores, 1 / 3, "block4", held=held)["w"].any(1).tolist() == [True, True, False]


def test_not_finite_scores_are_refused() -> None:
    with pytest.raises(InputError, match="w: 2 of 4 scores are not finite"):
        compute_masks({"w": torch.tensor([[1.0, float("nan"), float("inf"), 0.0]])}, 0.5)


def test_misfit_names_the_parameter() -> None:
    with pytest.raises(InputError, match=r"odd: .*blocks do not divide 4 x 6"):
        compute_masks({"odd": torch.rand(4, 6)}, 0.5, "block4")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="scope"):
        compute_masks(scores(0), 0.5, scope="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="block_reduce"):
        compute_masks(scores(0), 0.5, block_reduce="median")
    with pytest.raises(ValueError, match="layer sparsity"):
        compute_masks(scores(0), 0.5, min_layer_sparsity=0.8, max_layer_sparsity=0.2)
    with pytest.raises(InputError, match="between 0 and 1"):
        compute_masks(scores(0), 1.5)


def test_no_scores_no_masks() -> None:
    assert compute_masks({}, 0.5) == compute_masks({}, 0.5, scope="global") == {}


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_a_shorter_unit_at_the_edge_is_scored_by_its_own_weights(reduce: str) -> None:
    score = torch.tensor([[-5.0, -5, -5, -5, -9, -9], [-1, -1, -1, -1, -2, -2]])
    mask = compute_masks({"w": score}, 0.25, [1, 4], block_reduce=reduce, pad=True)["w"]
    assert mask.tolist() == [[True] * 4 + [False] * 2, [True] * 6]


def test_pad_gives_masks_where_the_pattern_does_not_divide() -> None:
    made = scores(0, shapes=((9, 8), (8, 8)))
    with pytest.raises(InputError, match="do not divide 9"):
        compute_masks(made, 0.5, [4, 1])
    masks = compute_masks(made, 0.5, [4, 1], pad=True)
    assert masks["w0"].shape == (9, 8)
    assert torch.equal(masks["w1"], compute_masks({"w1": made["w1"]}, 0.5, [4, 1])["w1"])
    edges = masks["w0"].split(4)
    assert [bool((block.all(0) | ~block.any(0)).all()) for block in edges] == [True] * 3


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000), st.floats(0.0, 0.5), st.floats(0.5, 1.0), st.floats(0.0, 1.0), st.sampled_from(PATTERNS[:4])
)
def test_partial_masks_lie_between(seed: int, low: float, high: float, share: float, pattern: str | list[int]) -> None:
    made = scores(seed)
    held, coming = (compute_masks(made, s, pattern, "global") for s in (low, high))
    held = {n: m | coming[n] for n, m in held.items()}  # what is masked stays masked
    added = sum(zeros(coming[n]) - zeros(held[n]) for n in made)
    count = round(added * share)
    found = partial_masks(made, held, coming, count)
    assert sum(zeros(found[n]) - zeros(held[n]) for n in made) == count
    for name in made:
        assert not (found[name] & ~held[name]).any()
        assert not (~found[name] & coming[name]).any()


def test_partial_masks_take_the_lowest_of_what_goes_anyway() -> None:
    made = {"a": torch.tensor([0.1, 5.0, 0.2, 9.0]), "b": torch.tensor([0.15, 0.3])}
    coming = {"a": torch.tensor([False, False, True, True]), "b": torch.tensor([False, True])}
    found = partial_masks(made, {}, coming, 2)
    assert found["a"].tolist() == [False, True, True, True]
    assert found["b"].tolist() == [False, True]
    assert all(torch.equal(m, coming[n]) for n, m in partial_masks(made, {}, coming, 99).items())


EMPTY = [(3, 0), (0, 4), (0, 0, 3, 3), (4, 0, 3, 3), (4, 4, 0, 3)]


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("pattern", ["unstructured", "block4", "4x1", "2:4", "filter", "channelx1"])
def test_a_layer_without_elements_has_nothing_to_prune(pattern: str, scope: str, pad: bool) -> None:
    torch.manual_seed(0)
    full = torch.rand(8, 8, 3, 3)
    alone = compute_masks({"full": full}, 0.5, pattern, scope, pad=pad)  # type: ignore[arg-type]
    for shape in EMPTY:
        scores = {"empty": torch.zeros(shape), "full": full}
        held = {"empty": torch.ones(shape, dtype=torch.bool)}
        masks = compute_masks(scores, 0.5, pattern, scope, pad=pad, held=held)  # type: ignore[arg-type]
        assert masks["empty"].shape == shape
        assert torch.equal(masks["full"], alone["full"])
        assert partial_masks(scores, {}, masks, 3)["full"].logical_not().sum() == 3
        assert compute_masks({"empty": scores["empty"]}, 0.5, pattern, scope, pad=pad)["empty"].shape == shape  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "2:4", "filter", "channelx1"])
def test_layers_on_several_devices_are_pruned_as_on_one(pattern: str, scope: str) -> None:
    torch.manual_seed(0)
    here = {f"w{i}": torch.rand(8, 4 + 4 * (i % 3)) for i in range(6)}

    def spread(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        places = itertools.cycle(["xla:0", "xla:1", "cpu"])
        return {name: placed(tensor, place) for (name, tensor), place in zip(tensors.items(), places, strict=False)}

    def masks(scores: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        some = compute_masks(scores, 0.2, pattern, scope)  # type: ignore[arg-type]
        more = compute_masks(scores, 0.5, pattern, scope, "mean", 0.1, 0.9, held=some)  # type: ignore[arg-type]
        return [some, more, partial_masks(scores, some, more, 9)]

    with PlayedDevices():
        there = spread(here)
        for expected, found in zip(masks(here), masks(there), strict=True):
            assert all(found[name].device == there[name].device for name in here)
            assert all(torch.equal(expected[name], placed(found[name], "cpu")) for name in here)
