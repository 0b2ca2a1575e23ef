"""SQuAD's metrics on cases worked out by hand from their definition."""

from __future__ import annotations

import pytest

from sparsify.tasks.question_answering.metrics import best_threshold, normalize, scores, squad_metrics, word_f1


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The Eiffel Tower", "eiffel tower"),
        ("an apple, a pear; the END.", "apple pear end"),
        ("  many\tblanks \n here ", "many blanks here"),
        ("U.S.", "us"),
        ("it's", "its"),
        ("theatre another", "theatre another"),  # articles are whole words
        ("$1,000", "1000"),
        ("a.m.", "am"),  # punctuation goes first: what is left is no article
        ("Ö — x", "ö — x"),  # only ASCII punctuation
        ("The", ""),
    ],
)
def test_normalized(text: str, plain: str) -> None:
    assert normalize(text) == plain


@pytest.mark.parametrize(
    ("said", "golds", "exact", "f1"),
    [
        ("France", ["France", "France."], 1.0, 1.0),
        ("the France!", ["france"], 1.0, 1.0),
        ("in France", ["France"], 0.0, 2 / 3),  # precision 1/2, recall 1
        ("10th and 11th centuries", ["in the 10th and 11th centuries", "11th"], 0.0, 2 * 1 * 0.8 / 1.8),
        ("to be to", ["to to to"], 0.0, 2 / 3),  # words count as often as they stand in both
        ("x", ["y", "x z"], 0.0, 2 / 3),  # the best of several golds
        ("x", ["x y", "x"], 1.0, 1.0),
        ("", ["x"], 0.0, 0.0),
        ("the", ["a"], 1.0, 0.0),  # 1.1 gives texts without words no F1
    ],
)
def test_scores_of_version_1(said: str, golds: list[str], exact: float, f1: float) -> None:
    assert scores(said, golds) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("said", "golds", "exact", "f1"),
    [
        ("", [], 1.0, 1.0),
        ("x", [], 0.0, 0.0),
        ("", ["x"], 0.0, 0.0),
        ("the", [], 1.0, 1.0),
        ("x", ["the", "x"], 1.0, 1.0),
        ("", ["the", "x"], 0.0, 0.0),  # golds without words are left out where others remain
        ("", ["the"], 1.0, 1.0),
        ("in France", ["France"], 0.0, 2 / 3),
    ],
)
def test_scores_of_version_2(said: str, golds: list[str], exact: float, f1: float) -> None:
    assert scores(said, golds, negatives=True) == (exact, pytest.approx(f1))


def test_f1_is_the_same_both_ways() -> None:
    assert word_f1("a b c d", "b d e") == word_f1("b d e", "a b c d") == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))


def test_means_in_percent() -> None:
    found = squad_metrics(["France", "in Oslo", "x"], [["France"], ["Oslo"], ["y"]])
    assert found == {"exact_match": pytest.approx(100 / 3), "f1": pytest.approx(100 * (1 + 2 / 3) / 3)}


def test_questions_without_answer_stand_apart() -> None:
    said, golds = ["Paris", "", "x", ""], [["Paris"], ["Oslo"], [], []]
    spans, odds = ["Paris", "Oslo", "x", "y"], [-3.0, 1.0, -1.0, 2.0]
    found = squad_metrics(said, golds, spans=spans, null_odds=odds)
    assert (found["exact_match"], found["f1"]) == (50.0, 50.0)
    assert (found["HasAns_exact"], found["HasAns_f1"], found["HasAns_total"]) == (50.0, 50.0, 2)
    assert (found["NoAns_exact"], found["NoAns_f1"], found["NoAns_total"]) == (50.0, 50.0, 2)
    # up to -3: Paris right, two none right, Oslo lost = 3/4; up to 1: Paris, Oslo, one none = 3/4
    assert (found["best_exact"], found["best_exact_thresh"]) == (75.0, -3.0)
    assert (found["best_f1"], found["best_f1_thresh"]) == (75.0, -3.0)


def test_only_one_kind_of_question() -> None:
    found = squad_metrics([""], [[]], spans=["x"], null_odds=[1.0])
    assert "HasAns_f1" not in found
    assert (found["NoAns_f1"], found["best_f1"], found["best_f1_thresh"]) == (100.0, 100.0, 0.0)


def test_the_best_threshold_is_the_best_of_all() -> None:
    forced, has = [1.0, 0.5, 0.0, 0.0, 1.0], [True, True, False, False, True]
    spans, odds = ["a", "b", "c", "", "e"], [0.3, -0.2, 0.1, -0.5, 0.7]

    def mean(threshold: float) -> float:
        each = [
            (score if answer else float(not span)) if odd <= threshold else float(not answer)
            for score, answer, span, odd in zip(forced, has, spans, odds, strict=True)
        ]
        return 100 * sum(each) / len(each)

    best, threshold = best_threshold(forced, has, spans, odds)
    assert best == pytest.approx(max(mean(t) for t in [-9.0, *odds]))
    assert best == pytest.approx(mean(threshold))
