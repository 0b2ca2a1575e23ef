from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.pruning.schedules import SHAPES, interpolate, multi_step

shapes = st.sampled_from(sorted(SHAPES))
fractions = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "epoch", "expected"),
    [
        ("linear", 2.0, 0.05 + 0.85 * 0.2),
        ("cubic", 2.0, 0.4648),
        ("cubic", 5.0, 0.8932),
        ("inverse_cubic", 2.0, 0.05 + 0.85 * (1 - 0.8 ** (1 / 3))),
        ("exp", 2.25, 1 - 0.95 * (0.1 / 0.95) ** 0.25),
        ("cos", 3.5, 0.05 + 0.85 * (1 - math.cos(math.pi / 4))),
        ("cube", 4.75, 0.05 + 0.85 * 0.75**3),
    ],
)
def test_known_values(shape: str, epoch: float, expected: float) -> None:
    assert interpolate(epoch, 1.0, 6.0, 0.05, 0.9, shape) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("exp", [0.0, 0.4377, 0.6838, 0.8222, 0.9]),
        ("cos", [0.0, 0.0685, 0.2636, 0.5556, 0.9]),
        ("linear", [0.0, 0.225, 0.45, 0.675, 0.9]),
        ("cube", [0.0, 0.0141, 0.1125, 0.3797, 0.9]),
    ],
)
def test_neural_compressors_published_values(shape: str, values: list[float]) -> None:
    assert [interpolate(t, 0.0, 4.0, 0.0, 0.9, shape) for t in range(5)] == pytest.approx(values, abs=6e-5)


@given(shapes, fractions, fractions, st.floats(-1.0, 12.0))
def test_stays_between_its_ends(shape: str, initial: float, final: float, epoch: float) -> None:
    value = interpolate(epoch, 1.0, 6.0, initial, final, shape)
    assert min(initial, final) - 1e-12 <= value <= max(initial, final) + 1e-12


@given(shapes, st.floats(0.0, 10.0), st.floats(0.0, 10.0))
def test_never_falls_when_it_should_rise(shape: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert interpolate(low, 1.0, 6.0, 0.05, 0.9, shape) <= interpolate(high, 1.0, 6.0, 0.05, 0.9, shape) + 1e-12


@given(shapes, fractions, fractions)
def test_final_is_exact_at_and_after_the_end(shape: str, initial: float, final: float) -> None:
    for epoch in (6.0, math.nextafter(6.0, 7.0), 1e9, math.inf):
        assert interpolate(epoch, 1.0, 6.0, initial, final, shape) == final


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_equal_start_and_end_is_a_jump(shape: str) -> None:
    assert interpolate(2.0, 2.0, 2.0, 0.1, 0.8, shape) == 0.8
    assert interpolate(1.9, 2.0, 2.0, 0.1, 0.8, shape) == 0.1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="linear, cubic, inverse_cubic"):
        interpolate(1.0, 0.0, 2.0, 0.0, 0.9, "cubik")
    with pytest.raises(ValueError, match="start <= end"):
        interpolate(1.0, 3.0, 2.0, 0.0, 0.9)
    with pytest.raises(ValueError, match="epoch"):
        interpolate(math.nan, 0.0, 2.0, 0.0, 0.9)


def test_polynomial_has_cubic_and_linear_in_it() -> None:
    for epoch in (1.5, 3.0, 5.9):
        three, one = (interpolate(epoch, 1.0, 6.0, 0.1, 0.9, "polynomial", power) for power in (3.0, 1.0))
        assert three == pytest.approx(interpolate(epoch, 1.0, 6.0, 0.1, 0.9, "cubic"))
        assert one == pytest.approx(interpolate(epoch, 1.0, 6.0, 0.1, 0.9, "linear"))


def test_multi_step_jumps_at_shares_of_the_span() -> None:
    steps = [(0.25, 0.3), (0.5, 0.6)]
    read = [multi_step(epoch, 1.0, 5.0, 0.1, 0.9, steps) for epoch in (0.0, 1.0, 1.9, 2.0, 2.9, 3.0, 4.9, 5.0, 9.0)]
    assert read == [0.1, 0.1, 0.1, 0.3, 0.3, 0.6, 0.6, 0.9, 0.9]
    assert multi_step(1.0, 1.0, 5.0, 0.1, 0.9, [(0.0, 0.2)]) == 0.2
    with pytest.raises(ValueError, match="start <= end"):
        multi_step(1.0, 5.0, 1.0, 0.1, 0.9, steps)
