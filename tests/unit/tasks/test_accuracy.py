"""The search for what stays in float."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.tasks.accuracy import Goal, Trial, fewest, summary

GOAL = Goal("eval_f1", 0.8, 0.01)


@given(st.integers(2, 60), st.integers(0, 60))
def test_the_fewest_parts_are_found_in_few_trials(total: int, needed: int) -> None:
    needed = min(needed, total - 1)
    kept, trials = fewest(total, lambda parts: 0.8 if parts >= needed else 0.7, GOAL)
    assert kept.parts == needed
    assert len({t.parts for t in trials}) == len(trials) <= 2 * total.bit_length() + 1


@given(st.integers(1, 40))
def test_the_best_effort_is_kept_where_nothing_is_enough(total: int) -> None:
    kept, trials = fewest(total, lambda parts: 0.5 + 0.001 * parts, GOAL)
    assert kept == max(trials, key=lambda t: t.value)
    assert all(t.parts < max(total, 1) for t in trials)


def test_of_equal_efforts_the_one_with_fewest_parts() -> None:
    assert fewest(9, lambda parts: 0.5, GOAL)[0].parts == 0


def test_tolerance_is_relative_and_knows_losses() -> None:
    assert GOAL.least == pytest.approx(0.792)
    assert GOAL.met(0.7921)
    assert not GOAL.met(0.7919)
    loss = Goal("eval_loss", 2.0, 0.1)
    assert loss.met(2.19)
    assert not loss.met(2.21)
    perplexity = Goal("eval_perplexity", 5.0, 0.01)
    assert perplexity.met(4.0)
    assert not perplexity.met(5.1)


def test_the_table_names_what_stays_in_float() -> None:
    text = summary(GOAL, {"a.b": 0.5, "c": 0.1}, Trial(1, 0.795), [Trial(0, 0.7), Trial(1, 0.795)])
    assert "eval_f1 in float 0.8000, quantized 0.7000, kept 0.7950 with 1 of 2 parts in float (2 trials)" in text
    assert "a.b" in text
    assert "\n  c" not in text


@pytest.mark.parametrize("name", ["eval_glossary_f1", "eval_loss_f1", "eval_mse_recall"])
def test_a_type_that_is_called_like_a_loss_is_none(name: str) -> None:
    assert Goal(name, 0.8, 0.01).met(0.9)
    assert not Goal(name, 0.8, 0.01).met(0.7)
