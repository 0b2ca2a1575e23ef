"""Pairs of texts cut into windows that a model can read: the first text whole, and a stretch of the second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.errors import InputError

NULL_POSITION = 0
"""Position that stands for "no answer": the first token, which is the classification token of most models."""
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a pair's second text, behind its first text.

    Attributes:
        pair: Index of the pair.
        ids: Token ids, special ones included.
        type_ids: Token types.
        offsets: int32 [length, 2]: characters of the second text (end exclusive) that each token stands for; -1 for
            tokens of the first text and special ones.
    """

    pair: int
    ids: list[int]
    type_ids: list[int]
    offsets: NDArray[np.int32]


def windows(tokenizer: Any, pairs: Sequence[tuple[str, str]], *, max_length: int, stride: int) -> Iterator[Window]:
    """Cut pairs into windows, in their order.

    The first text takes at most half of a window; what is longer is cut. Where it leaves so little room that windows
    would hardly move, they share three quarters of it instead of ``stride`` tokens.

    Args:
        tokenizer: Of the tokenizers library; it is not changed.
        pairs: First text (a question) and second (its context).
        max_length: Tokens of a window, special ones included.
        stride: Tokens of the second text that neighbouring windows share.
    """
    own = type(tokenizer).from_str(tokenizer.to_str())
    own.no_padding()
    own.no_truncation()
    for begin in range(0, len(pairs), _CHUNK):
        chunk = pairs[begin : begin + _CHUNK]
        for index, encoding in enumerate(_encoded(own, chunk, max_length, stride), begin):
            yield from (_window(index, part) for part in (encoding, *encoding.overflowing))


def usual_stride(max_length: int) -> int:
    """Tokens that neighbouring windows of ``max_length`` tokens share unless somebody says otherwise."""
    return min(128, max_length // 3)


def room(tokenizer: Any, max_length: int) -> int:
    """Tokens of a window that are left for both texts."""
    return max_length - int(tokenizer.num_special_tokens_to_add(True))


def stride_within(asked: int | None, usual: int, left: int, max_length: int) -> int:
    """Tokens that neighbouring windows share: what is asked for, else what is usual.

    Args:
        asked: None: nobody said.
        usual: What is taken then.
        left: Tokens of a window that are left for texts.
        max_length: Tokens of a window.

    Raises:
        InputError: Windows would not move.
    """
    stride = usual if asked is None else asked
    if not 0 <= stride < left:
        raise InputError(f"stride must be from 0 to {left - 1} for windows of {max_length} tokens, got {stride}.")
    return stride


def _encoded(tokenizer: Any, pairs: Sequence[tuple[str, str]], max_length: int, stride: int) -> list[Any]:
    space = room(tokenizer, max_length)
    firsts = tokenizer.encode_batch([first for first, _ in pairs], add_special_tokens=False)
    cut = [_cut(text, encoding, space // 2) for (text, _), encoding in zip(pairs, firsts, strict=True)]
    groups: dict[int, list[int]] = {}
    for index, encoding in enumerate(firsts):
        left = space - min(len(encoding.ids), space // 2)
        groups.setdefault(min(stride, left * 3 // 4), []).append(index)
    found: dict[int, Any] = {}
    for shared, members in groups.items():
        tokenizer.enable_truncation(max_length, stride=shared, strategy="only_second")
        encodings = tokenizer.encode_batch([(cut[i], pairs[i][1]) for i in members])
        found |= zip(members, encodings, strict=True)
    tokenizer.no_truncation()
    return [found[index] for index in range(len(pairs))]


def _cut(text: str, encoding: Any, limit: int) -> str:
    return text if len(encoding.ids) <= limit else text[: encoding.offsets[limit - 1][1]]


def _window(pair: int, encoding: Any) -> Window:
    offsets = np.array(encoding.offsets, dtype=np.int32)
    offsets[[part != 1 for part in encoding.sequence_ids]] = -1
    return Window(pair, encoding.ids, encoding.type_ids, offsets)
