"""Tests of sparsify.export.spans."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.export.spans import SpanRules, answer

TEXT = "ada met bob in oslo"
# [CLS] question [SEP] ada met bob in oslo [SEP]
OFFSETS = np.array([[-1, -1]] * 3 + [[0, 3], [4, 7], [8, 11], [12, 14], [15, 19]] + [[-1, -1]], dtype=np.int32)
SIZE = len(OFFSETS)


def scores(**places: float) -> np.ndarray:
    """Zeros, but for the tokens named ``at_3=2.0``."""
    found = np.zeros(SIZE + 4, dtype=np.float32)  # longer than the window, as a padded batch is
    found[SIZE:] = 99.0
    for name, value in places.items():
        found[int(name.removeprefix("at_"))] = value
    return found


def test_the_best_span_is_text_of_the_context() -> None:
    found = answer(TEXT, [OFFSETS], [scores(at_5=3)], [scores(at_7=4)], SpanRules(n_best=3))
    assert found.text == found.span.text == "bob in oslo"
    assert (found.span.start, found.span.end) == (8, 19)
    assert (found.span.start_logit, found.span.end_logit, found.span.score) == (3.0, 4.0, 7.0)
    assert [one.score for one in found.candidates] == sorted((one.score for one in found.candidates), reverse=True)
    assert sum(one.probability for one in found.candidates) == pytest.approx(1)
    assert found.null_odds is None


def test_neither_question_nor_padding_nor_a_backward_span_is_an_answer() -> None:
    start, end = scores(at_1=50, at_7=9), scores(at_1=50, at_3=9, at_8=50)
    found = answer(TEXT, [OFFSETS], [start], [end], SpanRules(n_best=100))
    assert len(found.candidates) == 15  # 5 tokens: 5 + 4 + 3 + 2 + 1
    assert all(one.start < one.end for one in found.candidates)


def test_answers_are_no_longer_than_asked() -> None:
    found = answer(TEXT, [OFFSETS], [scores(at_3=9)], [scores(at_7=9)], SpanRules(max_tokens=2, n_best=100))
    assert {len(one.text.split()) for one in found.candidates} == {1, 2}


@given(
    st.lists(st.floats(-9, 9, width=32), min_size=10, max_size=10),
    st.integers(1, 6),
    st.integers(1, 20),
)
def test_all_spans_are_ranked_as_trying_each_would(values: list[float], longest: int, n_best: int) -> None:
    start, end = scores(), scores()
    start[3:8], end[3:8] = values[:5], values[5:]
    found = answer(TEXT, [OFFSETS], [start], [end], SpanRules(n_best, longest))
    tried = [start[i] + float(end[j]) for i, j in product(range(3, 8), repeat=2) if 0 <= j - i < longest]
    assert [one.score for one in found.candidates] == pytest.approx(sorted(tried, reverse=True)[:n_best], abs=1e-5)


def test_windows_compete_and_the_same_span_counts_once() -> None:
    first, second = OFFSETS[:6], np.concatenate([OFFSETS[:3], OFFSETS[5:]])
    # the second window: [CLS] question [SEP] bob in oslo [SEP]
    starts, ends = [scores(at_5=1), scores(at_3=2)], [scores(at_5=1), scores(at_3=2)]
    found = answer(TEXT, [first, second], starts, ends, SpanRules(n_best=100))
    assert found.text == "bob"
    assert [one.text for one in found.candidates].count("bob") == 1
    assert found.span.score == 4.0


def test_no_answer_is_said_where_it_beats_the_best_span_by_the_threshold() -> None:
    start, end = scores(at_0=2, at_3=1), scores(at_0=2, at_3=1)
    rules = SpanRules(negatives=True, n_best=2)
    found = answer(TEXT, [OFFSETS], [start], [end], rules)
    assert (found.text, found.span.text, found.null_odds) == ("", "ada", 2.0)
    assert found.candidates[0].text == ""
    bold = answer(TEXT, [OFFSETS], [start], [end], SpanRules(negatives=True, threshold=2.0))
    assert (bold.text, bold.null_odds) == ("ada", 2.0)  # it must be above, not at, the threshold


def test_no_answer_scores_what_the_least_sure_window_gives_it() -> None:
    starts, ends = [scores(at_0=9), scores(at_0=1, at_3=2)], [scores(at_0=9), scores(at_0=1, at_3=2)]
    found = answer(TEXT, [OFFSETS, OFFSETS], starts, ends, SpanRules(negatives=True))
    assert found.null_odds == 2.0 - 4.0
    assert found.text == "ada"


def test_what_is_weighed_is_among_the_candidates() -> None:
    for null in (-50.0, 50.0):
        start, end = scores(at_0=null), scores(at_0=null, at_3=1)
        found = answer(TEXT, [OFFSETS], [start], [end], SpanRules(negatives=True, n_best=1))
        assert {one.text for one in found.candidates} == {"", "ada"}
        assert found.text == ("ada" if null < 0 else "")


def test_a_text_without_tokens_has_no_answer() -> None:
    empty = OFFSETS[:3]
    found = answer("", [empty], [scores()], [scores()], SpanRules())
    assert (found.text, [one.text for one in found.candidates]) == ("", [""])
    none = answer("", [empty], [scores()], [scores()], SpanRules(negatives=True))
    assert none.text == ""
    assert none.null_odds is not None
    assert none.null_odds > 1e30
    assert math.isfinite(none.null_odds)  # it goes into JSON


def test_a_broken_model_is_no_reason_to_fail() -> None:
    nan = np.full(SIZE, np.nan, dtype=np.float32)
    assert answer(TEXT, [OFFSETS], [nan], [nan], SpanRules(negatives=True)).candidates


@pytest.mark.parametrize(("values", "flag"), [((0, 30), "--n_best_size"), ((20, 0), "--max_answer_length")])
def test_nothing_to_say_is_refused(values: tuple[int, int], flag: str) -> None:
    with pytest.raises(InputError, match=f"{flag} must be at least 1, got 0"):
        SpanRules(*values)
