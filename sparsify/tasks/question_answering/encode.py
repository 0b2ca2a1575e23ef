"""Questions -> windows of model input, each labelled with where the answer begins and ends in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsify.distillation.losses import IGNORED
from sparsify.errors import InputError
from sparsify.export.windows import NULL_POSITION, Window, room, usual_stride, windows
from sparsify.tasks.base import Encoded
from sparsify.tasks.question_answering.answers import locate
from sparsify.tasks.question_answering.columns import Questions
from sparsify.tasks.tokenizers import use_threads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)
_LEAST = 4


@dataclass
class EncodedWindows(Encoded):
    """Windows of questions.

    Attributes:
        questions: Index of each window's question.
        offsets: Characters of the context that each window's tokens stand for, as ``Window`` has them.
    """

    questions: list[int] = field(default_factory=list)
    offsets: list[NDArray[np.int32]] = field(default_factory=list)


def stride_of(asked: int | None, tokenizer: Any, max_length: int) -> int:
    """Tokens that neighbouring windows share.

    Args:
        asked: ``--doc_stride``.
        tokenizer: Of the tokenizers library.
        max_length: Tokens of a window.

    Raises:
        InputError: Windows would not move, or have no room for a question and its context.
    """
    if room(tokenizer, max_length) < _LEAST:
        raise InputError(
            f"--max_seq_length {max_length} leaves no room for a question and its context; 384 is usual, and at least"
            f" {_LEAST + max_length - room(tokenizer, max_length)} are needed"
        )
    if asked is None:
        return usual_stride(max_length)
    if not 0 <= asked < room(tokenizer, max_length):
        raise InputError(
            f"--doc_stride {asked}: windows of --max_seq_length {max_length} share from 0 to"
            f" {room(tokenizer, max_length) - 1} sub-tokens; {usual_stride(max_length)} is usual"
        )
    return asked


def encode(
    split: Questions,
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    stride: int | None = None,
    workers: int | None = None,
) -> EncodedWindows:
    """Tokenize questions with their contexts, a long context in several windows.

    Args:
        split: Questions, with answers or without.
        tokenizer: A fast tokenizer.
        max_length: Sub-tokens of a window, special ones included.
        stride: Sub-tokens that neighbouring windows share.
        workers: Threads the tokenizer may use.

    Returns:
        ``labels`` of a window are the positions of the first and the last token of the first answer, and the number of
        tokens, behind which padding begins. Both positions are 0 where the answer does not stand in this window, whole,
        or where there is none; all three are -100 where it stands nowhere.
    """
    use_threads(workers)
    backend = tokenizer.backend_tokenizer
    places = _places(split)
    result = EncodedWindows([])
    for window in windows(backend, split.pairs, max_length=max_length, stride=stride_of(stride, backend, max_length)):
        row: dict[str, Any] = {
            "input_ids": window.ids,
            "token_type_ids": window.type_ids,
            "attention_mask": [1] * len(window.ids),
        }
        if places is not None:
            span = _span(window, places[window.pair])
            row["labels"] = [IGNORED] * 3 if span is None else [*span, len(window.ids)]
        result.features.append(row)
        result.questions.append(window.pair)
        result.offsets.append(window.offsets)
    if len(result) > len(split):
        logger.info("%s: %d questions are read in %d windows", split.origin, len(split), len(result))
    return result


_Place = tuple[int, int] | None
_NOWHERE = (-1, -1)


def _places(split: Questions) -> list[_Place] | None:
    """Where each question's first answer stands; None where it has none."""
    if split.answers is None:
        return None
    pairs = zip(split.answers, split.contexts, strict=True)
    return [(locate(context, answers[0]) or _NOWHERE) if answers else None for answers, context in pairs]


def _span(window: Window, place: _Place) -> tuple[int, int] | None:
    """First and last token of an answer; None where nothing can be said."""
    if place is None:
        return NULL_POSITION, NULL_POSITION
    if place == _NOWHERE:
        return None
    (tokens,) = np.nonzero(window.offsets[:, 0] >= 0)
    starts, ends = window.offsets[tokens].T
    if not len(tokens) or starts[0] > place[0] or ends[-1] < place[1]:
        return NULL_POSITION, NULL_POSITION
    first = int(np.searchsorted(ends, place[0], side="right"))
    last = int(np.searchsorted(starts, place[1], side="left")) - 1
    if first > last:  # the answer is made of characters that become no token
        return None
    return int(tokens[first]), int(tokens[last])
