from __future__ import annotations

import pytest
import torch

from sparsify.errors import InputError
from sparsify.pruning.patterns import Block, NofM, Padded, Unstructured, check_fit, parse_pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unstructured", Unstructured()),
        ("block4", Block(1, 4)),
        ("tensorrt", NofM(2, 4)),
        ("2:4", NofM(2, 4)),
        ("1:8", NofM(1, 8)),
        ([4, 1], Block(4, 1)),
        ((1, -1), Block(1, -1)),
        ("4x1", Block(4, 1)),
        ("1xchannel", Block(1, -1)),
        ("channelx1", Block(-1, 1)),
        ("1x1", Unstructured()),
        ("filter", Block(1, -1)),
    ],
)
def test_parses(text: str | list[int], expected: object) -> None:
    assert parse_pattern(text) == expected


@pytest.mark.parametrize(
    "bad", ["block5", "4:2", "0:4", "4:4", "2:", "", [4], [0, 4], [4, -2], [True, 4], [1.0, 4], "0x4", "4x", "axb"]
)
def test_refuses_with_the_choices(bad: str | list[int]) -> None:
    with pytest.raises(ValueError, match=r"'unstructured', 'block4', 'N:M'"):
        parse_pattern(bad)


def test_ratio_says_how_many_zeros_there_can_be() -> None:
    assert parse_pattern("1:4").ratio == 0.75
    assert parse_pattern("block4").ratio == 1.0


def test_misfits_name_shape_and_what_would_do() -> None:
    with pytest.raises(InputError, match=r"fc\.weight: \[1, 4\] blocks do not divide 8 x 6; .*\[4, 1\].*\[1, 2\]"):
        check_fit(Block(1, 4), "fc.weight", (8, 6))
    with pytest.raises(InputError, match=r"2:4 groups do not divide 6 inputs"):
        check_fit(NofM(2, 4), "fc.weight", (8, 6))
    for pattern in (Block(1, 4), NofM(2, 4)):
        with pytest.raises(InputError, match="two or more dimensions"):
            check_fit(pattern, "bias", (8,))
    with pytest.raises(InputError, match="blocks that do: none"):
        check_fit(Block(3, 1), "odd.weight", (7, 7))
    check_fit(Unstructured(), "bias", (8,))
    check_fit(Block(-1, -1), "any.weight", (7, 3))


@pytest.mark.parametrize(("reduce", "expected"), [("mean", [1.5, 5.5]), ("sum", [6.0, 22.0]), ("max", [3.0, 7.0])])
def test_block_scores(reduce: str, expected: list[float]) -> None:
    score = torch.arange(8.0).view(1, 8)
    assert Block(1, 4).units(score, reduce).tolist() == expected
    assert Block(1, 4).unit_size(score.shape) == 4


def test_two_by_two_blocks_are_squares() -> None:
    score = torch.arange(16.0).view(4, 4)
    kept = torch.tensor([True, False, False, True])
    mask = Block(2, 2).mask(score, kept)
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :2] = expected[2:, 2:] = True
    assert torch.equal(mask, expected)
    assert Block(2, 2).units(score, "sum").tolist() == [
        0 + 1 + 4 + 5,
        2 + 3 + 6 + 7,
        8 + 9 + 12 + 13,
        10 + 11 + 14 + 15,
    ]


def test_convolution_blocks_lie_along_the_input_channels() -> None:
    score = torch.rand(2, 8, 3, 3)
    pattern = Block(1, 4)
    units = pattern.units(score, "mean")
    assert units.shape == (2 * 9 * 2,)
    assert units[0] == pytest.approx(float(score[0, :4, 0, 0].mean()))
    assert units[1] == pytest.approx(float(score[0, 4:, 0, 0].mean()))
    assert units[2] == pytest.approx(float(score[0, :4, 0, 1].mean()))
    kept = torch.ones(36, dtype=torch.bool)
    kept[1] = False
    mask = pattern.mask(score, kept)
    assert mask.shape == score.shape
    assert not mask[0, 4:, 0, 0].any()
    assert int((~mask).sum()) == 4


def test_n_of_m_on_a_convolution_counts_along_the_input_channels() -> None:
    score = torch.rand(4, 8, 3, 3)
    mask = NofM(2, 4).mask(score, torch.zeros(4 * 9 * 2, dtype=torch.bool))
    by_channel = mask.permute(0, 2, 3, 1).reshape(-1, 4)
    assert (by_channel.sum(1) == 2).all()
    grouped = score.permute(0, 2, 3, 1).reshape(-1, 4)
    assert torch.equal(by_channel, grouped >= grouped.sort(dim=1).values[:, 2:3])


def test_n_of_m_units_are_what_cutting_costs() -> None:
    score = torch.tensor([[4.0, 1.0, 3.0, 2.0, 9.0, 9.0, 0.5, 9.0]])
    assert NofM(2, 4).units(score, "mean").tolist() == [3.0, 9.5]
    assert NofM(2, 4).unit_size(score.shape) == 4


@pytest.mark.parametrize(("text", "inner"), [("4x1", Block(4, 1)), ("2:4", NofM(2, 4))])
def test_padding_is_asked_for(text: str, inner: Block | NofM) -> None:
    assert parse_pattern(text, pad=True) == Padded(inner)
    assert parse_pattern("unstructured", pad=True) == Unstructured()


def test_padded_blocks_take_the_mean_of_what_is_there() -> None:
    score = torch.tensor([[1.0], [1.0], [1.0], [1.0], [7.0]])
    form = Padded(Block(4, 1))
    assert form.misfit(score.shape) is None
    assert form.units(score, "mean").tolist() == [1.0, 7.0]
    assert form.units(score, "sum").tolist() == [4.0, 7.0]
    assert form.mask(score, torch.tensor([False, True])).flatten().tolist() == [False] * 4 + [True]
    assert form.spread(score.shape, torch.tensor([2.0, 3.0])).flatten().tolist() == [2.0] * 4 + [3.0]


def test_padded_blocks_take_the_maximum_of_what_is_there() -> None:
    score = torch.tensor([[-5.0], [-5.0], [-5.0], [-5.0], [-9.0]])
    assert Padded(Block(4, 1)).units(score, "max").tolist() == [-5.0, -9.0]


@pytest.mark.parametrize(
    ("pattern", "rows", "expected"),
    [
        (Unstructured(), [[1, 0, 1]], [False, True, False]),
        (Block(1, 2), [[0, 0, 1, 0]], [True, False]),
        (NofM(1, 4), [[0, 0, 1, 0, 1, 1, 0, 0]], [True, False]),
        (NofM(2, 4), [[0, 0, 1, 0]], [True]),
        (Padded(Block(1, 2)), [[1, 0, 0], [0, 0, 1]], [False, True, True, False]),
        (Padded(NofM(2, 4)), [[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1, 0]], [False, False, True, True]),
    ],
)
def test_gone_is_what_has_nothing_left_to_prune(
    pattern: Block | NofM | Padded | Unstructured, rows: list[list[int]], expected: list[bool]
) -> None:
    assert pattern.gone(torch.tensor(rows, dtype=torch.bool)).tolist() == expected


def test_padded_groups_spare_real_weights() -> None:
    """Of the last group of 6 inputs two are beyond the edge: it is 2:4 as it is."""
    score = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.5, 0.25]])
    form = Padded(NofM(2, 4))
    mask = form.mask(score, torch.tensor([False, False]))
    assert mask.tolist() == [[True, True, False, False, True, True]]


def test_padded_convolutions_keep_their_shape() -> None:
    score = torch.rand(6, 3, 3, 3)
    form = Padded(Block(4, 1))
    units = form.units(score, "mean")
    assert len(units) == 2 * 27
    assert form.mask(score, torch.ones_like(units, dtype=torch.bool)).all()
    assert form.mask(score, torch.zeros_like(units, dtype=torch.bool)).shape == score.shape


def test_padding_does_not_help_a_bias() -> None:
    assert Padded(Block(4, 1)).misfit((8,)) is not None


@pytest.mark.parametrize("pattern", [Block(2, 2), Block(1, -1), NofM(2, 4), Unstructured()])
def test_spread_is_the_inverse_of_units(pattern: Block | NofM | Unstructured) -> None:
    score = torch.rand(4, 8)
    units = torch.rand(len(pattern.units(score, "mean")))
    spread = pattern.spread(score.shape, units)
    assert spread.shape == score.shape
    if not isinstance(pattern, NofM):
        assert torch.allclose(pattern.units(spread, "mean"), units)


@pytest.mark.parametrize("pattern", [Block(4, 1), Block(1, -1), Block(-1, 1), NofM(2, 4), Unstructured()])
@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 5, 3, 3), (5, 0, 1, 1)])
def test_what_has_no_elements_fits_and_has_no_units(
    pattern: Block | NofM | Unstructured, shape: tuple[int, ...]
) -> None:
    assert pattern.misfit(shape) is None
    units = pattern.units(torch.zeros(shape), "mean")
    assert len(units) == 0
    assert pattern.spread(shape, units).shape == shape
    assert pattern.unit_size(shape) >= 1
