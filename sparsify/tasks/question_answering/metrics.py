"""SQuAD's metrics: exact match and F1 over words, and what a threshold for "no answer" does to them.

Sources: the evaluation of SQuAD 1.1 (Rajpurkar et al., 2016, arXiv:1606.05250) and of SQuAD 2.0 (Rajpurkar et al., 2018,
arXiv:1806.03822).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """A text in lower case, without punctuation, English articles and further blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(said: str, true: str) -> float:
    """1 where both texts are the same once normalized, else 0."""
    return float(normalize(said) == normalize(true))


def word_f1(said: str, true: str, *, negatives: bool = False) -> float:
    """F1 of the words of two normalized texts.

    Args:
        said: The prediction.
        true: The answer.
        negatives: SQuAD 2.0's rule for texts without any word: 1 where both have none. In 1.1 that is 0.
    """
    ours, theirs = normalize(said).split(), normalize(true).split()
    if negatives and not (ours and theirs):
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(ours), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


def scores(said: str, answers: Sequence[str], *, negatives: bool = False) -> tuple[float, float]:
    """Exact match and F1 of a prediction: the best over all answers, each from 0 to 1.

    Args:
        said: The prediction, empty for "no answer".
        answers: All right ones; none where the question has no answer.
        negatives: Score by SQuAD 2.0's rules, in which answers without a word count as none.
    """
    golds = [answer for answer in answers if not negatives or normalize(answer)] or [""]
    return max(exact_match(said, g) for g in golds), max(word_f1(said, g, negatives=negatives) for g in golds)


def squad_metrics(
    said: Sequence[str],
    answers: Sequence[Sequence[str]],
    *,
    spans: Sequence[str] | None = None,
    null_odds: Sequence[float] | None = None,
) -> dict[str, float]:
    """Exact match and F1 in percent; with ``null_odds`` by SQuAD 2.0's rules, and for each kind of question.

    Args:
        said: A prediction for each question.
        answers: Its right answers.
        spans: The best span of each, whether it was said or not.
        null_odds: By how much "no answer" beats that span.

    Returns:
        ``exact_match`` and ``f1``; with ``null_odds`` also ``HasAns_...`` and ``NoAns_...`` for questions with and
        without answer, and ``best_exact``, ``best_f1`` with the thresholds at which spans and "no answer" reach them.
    """
    negatives = null_odds is not None
    found = [scores(one, golds, negatives=negatives) for one, golds in zip(said, answers, strict=True)]
    metrics = _means(found, "exact_match", "f1")
    if spans is None or null_odds is None:
        return metrics
    has = [bool(golds) for golds in answers]
    for name, kind in (("HasAns", True), ("NoAns", False)):
        chosen = [score for score, one in zip(found, has, strict=True) if one is kind]
        if chosen:
            metrics |= _means(chosen, f"{name}_exact", f"{name}_f1") | {f"{name}_total": len(chosen)}
    forced = [scores(one, golds, negatives=True) for one, golds in zip(spans, answers, strict=True)]
    for name, column in (("best_exact", 0), ("best_f1", 1)):
        best, threshold = best_threshold([score[column] for score in forced], has, spans, null_odds)
        metrics |= {name: best, f"{name}_thresh": threshold}
    return metrics


def _means(found: Sequence[tuple[float, float]], *names: str) -> dict[str, float]:
    return {name: 100 * sum(s[i] for s in found) / len(found) for i, name in enumerate(names)}


def best_threshold(
    forced: Sequence[float], has_answer: Sequence[bool], spans: Sequence[str], null_odds: Sequence[float]
) -> tuple[float, float]:
    """The best mean score that any threshold reaches, in percent, and that threshold.

    A question is answered with its span where its null odds are at most the threshold, else with "no answer".

    Args:
        forced: Score of each span.
        has_answer: Whether the question has an answer.
        spans: The spans; an empty one costs nothing where there is no answer.
        null_odds: Of each question.
    """
    current = best = float(sum(not has for has in has_answer))
    threshold = 0.0
    for index in sorted(range(len(forced)), key=lambda i: null_odds[i]):
        if has_answer[index]:
            current += forced[index]
        elif spans[index]:
            current -= 1
        if current > best:
            best, threshold = current, null_odds[index]
    return 100 * best / len(forced), threshold
