"""Steps and epochs."""

from hypothesis import given
from hypothesis import strategies as st

from sparsify.clock import Clock, update_steps


def test_epochs_that_are_no_whole_steps_start_on_the_next_step() -> None:
    clock = Clock(steps_per_epoch=10, total_steps=30)
    assert [clock.step_of(e) for e in (0.0, 0.1, 0.11, 1.0, 2.95)] == [0, 1, 2, 10, 30]


def test_float_noise_does_not_delay_a_start() -> None:
    assert Clock(10, 100).step_of(0.1 + 0.2) == 3


def test_updates_run_from_start_to_end_at_the_frequency() -> None:
    assert update_steps(Clock(10, 80), 1.0, 3.0, 0.5) == [10, 15, 20, 25, 30]


def test_an_end_at_the_runs_end_is_still_reached() -> None:
    assert update_steps(Clock(10, 20), 0.0, 2.0, 0.7)[-1] == 20


def test_no_end_means_no_final_update() -> None:
    assert update_steps(Clock(2, 4), 0.0, -1.0, -1.0) == [0, 1, 2, 3]


def test_start_equal_to_end_updates_once() -> None:
    assert update_steps(Clock(10, 80), 2.0, 2.0, 0.5) == [20]


@given(
    spe=st.integers(1, 50),
    epochs=st.integers(1, 10),
    start=st.floats(0, 5),
    length=st.floats(0, 5),
    frequency=st.floats(-1, 3),
)
def test_updates_rise_stay_inside_and_end_at_the_end(
    spe: int, epochs: int, start: float, length: float, frequency: float
) -> None:
    clock = Clock(spe, spe * epochs)
    steps = update_steps(clock, start, start + length, frequency)
    assert steps == sorted(set(steps))
    assert steps[-1] == max(clock.step_of(start), min(clock.step_of(start + length), clock.total_steps))
    assert steps[0] >= clock.step_of(start) or steps == [clock.total_steps]
