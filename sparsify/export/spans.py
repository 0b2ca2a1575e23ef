"""Scores of starts and ends -> stretches of a text that answer a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sparsify.errors import InputError
from sparsify.export.windows import NULL_POSITION

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SpanRules:
    """Which spans may be an answer.

    Attributes:
        n_best: Candidates kept of each question.
        max_tokens: Tokens of the longest answer.
        negatives: Whether a question may have no answer.
        threshold: With ``negatives``: by how much "no answer" must beat the best span.

    Raises:
        InputError: A number is below 1.
    """

    n_best: int = 20
    max_tokens: int = 30
    negatives: bool = False
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for flag, value in (("n_best_size", self.n_best), ("max_answer_length", self.max_tokens)):
            if value < 1:
                raise InputError(f"--{flag} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stretch of a text that may be the answer, or the answer that there is none (``text`` is empty).

    Attributes:
        text: As it stands in the text.
        start: First character.
        end: Character after the last.
        start_logit: Score of its first token.
        end_logit: Score of its last.
        probability: Share of the softmax over a question's candidates.
    """

    text: str
    start: int
    end: int
    start_logit: float
    end_logit: float
    probability: float = 0.0

    @property
    def score(self) -> float:
        """Of start and end together."""
        return self.start_logit + self.end_logit


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model says to a question.

    Attributes:
        candidates: Most likely first; "no answer" among them where that is allowed.
        span: The best that is a span; an empty one where the text has no token.
        null_odds: By how much "no answer" beats it; None where that is not allowed.
        text: The answer: of ``span``, or empty.
    """

    candidates: list[Candidate]
    span: Candidate
    null_odds: float | None = None
    text: str = field(default="")


_NOTHING = Candidate("", 0, 0, 0.0, 0.0, 1.0)


def answer(
    text: str,
    windows: Sequence[NDArray[np.int32]],
    starts: Sequence[Array],
    ends: Sequence[Array],
    rules: SpanRules,
) -> Answered:
    """The best spans of a text over its windows.

    A span's score is the sum of its start's and its end's. "No answer" scores what the first token does, in the window
    where that is least (Devlin et al., 2018, arXiv:1810.04805, section 4.3).

    Args:
        text: The text that holds the answer.
        windows: Offsets of each window's tokens, as ``Window`` has them.
        starts: Each window's scores of starts, at least as many as tokens.
        ends: The same of ends.
        rules: Which spans may be one.
    """
    scored = [_finite(s, e, len(w)) for w, s, e in zip(windows, starts, ends, strict=True)]
    best: dict[tuple[int, int], Candidate] = {}
    for offsets, (first, last) in zip(windows, scored, strict=True):
        for found in _best(text, offsets, first, last, rules):
            place = (found.start, found.end)
            if place not in best or found.score > best[place].score:
                best[place] = found
    ranked = sorted(best.values(), key=lambda c: (-c.score, c.start, c.end))[: rules.n_best]
    span = ranked[0] if ranked else _NOTHING
    if not rules.negatives:
        return _answered(ranked or [_NOTHING], span, None, span.text)
    pairs = [(float(first[NULL_POSITION]), float(last[NULL_POSITION])) for first, last in scored]
    none = Candidate("", 0, 0, *min(pairs, key=sum))
    odds = none.score - span.score if ranked else float(np.finfo(np.float32).max)
    with_none = sorted([*ranked, none], key=lambda c: -c.score)
    kept = with_none[: rules.n_best]
    kept += [one for one in with_none if one not in kept and one in (none, span)]  # what is weighed is always shown
    return _answered(kept, span, odds, "" if odds > rules.threshold else span.text)


def _answered(candidates: list[Candidate], span: Candidate, odds: float | None, text: str) -> Answered:
    scores = np.array([c.score for c in candidates], dtype=np.float64)
    powers = np.exp(scores - scores.max())
    chances = powers / powers.sum()
    listed = [
        Candidate(c.text, c.start, c.end, c.start_logit, c.end_logit, float(chance))
        for c, chance in zip(candidates, chances, strict=True)
    ]
    likely = next((c for c in listed if (c.start, c.end) == (span.start, span.end) and c.text), span)
    return Answered(listed, likely, odds, text)


def _finite(starts: Array, ends: Array, length: int) -> tuple[Array, Array]:
    lowest = float(np.finfo(np.float32).min) / 4
    first, last = (np.nan_to_num(x[:length].astype(np.float64), nan=lowest, neginf=lowest) for x in (starts, ends))
    return first, last


def _best(text: str, offsets: NDArray[np.int32], starts: Array, ends: Array, rules: SpanRules) -> Iterator[Candidate]:
    """The best spans of one window: all starts with the ends up to ``max_tokens`` further."""
    inside = offsets[:, 0] >= 0
    first = np.where(inside, starts, -np.inf)
    last = np.append(np.where(inside, ends, -np.inf), np.full(rules.max_tokens - 1, -np.inf))
    scores = (first[:, None] + sliding_window_view(last, rules.max_tokens)).ravel()
    count = min(rules.n_best, len(scores))
    for place in np.argpartition(-scores, count - 1)[:count]:
        if np.isfinite(scores[place]):
            begin, more = divmod(int(place), rules.max_tokens)
            start, end = int(offsets[begin, 0]), int(offsets[begin + more, 1])
            if start < end:
                yield Candidate(text[start:end], start, end, float(starts[begin]), float(ends[begin + more]))
