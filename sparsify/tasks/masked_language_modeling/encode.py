"""Texts -> blocks of sub-tokens, some of them hidden."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError
from sparsify.tasks.base import Encoded
from sparsify.tasks.masked_language_modeling.columns import Texts
from sparsify.tasks.masked_language_modeling.masking import FIXED, Masking
from sparsify.tasks.tokenizers import use_threads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


@dataclass
class EncodedBlocks(Encoded):
    """Blocks of sub-tokens; in ``features`` some are hidden, always the same.

    Attributes:
        ids: Those of each block with nothing hidden.
    """

    ids: list[list[int]] = field(default_factory=list)


def encode(
    split: Texts,
    tokenizer: PreTrainedTokenizerFast,
    masking: Masking,
    *,
    max_length: int,
    line_by_line: bool = False,
    workers: int | None = None,
) -> EncodedBlocks:
    """Tokenize texts and hide some of their tokens.

    Args:
        split: The texts.
        tokenizer: A fast tokenizer.
        masking: How tokens are hidden.
        max_length: Sub-tokens of a block, special ones included.
        line_by_line: Each text is a block, cut to ``max_length``; else texts are joined and cut into full blocks, a
            separator token behind each text.
        workers: Threads the tokenizer may use.

    Raises:
        InputError: Texts become no token.
    """
    use_threads(workers)
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    if line_by_line:
        blocks = _lines(split, backend, max_length)
    else:
        blocks = list(_packed(split, backend, max_length, tokenizer.sep_token_id))
    if not blocks:
        raise InputError(f"{split.origin}: its texts become no token of this tokenizer")
    result = EncodedBlocks([], blocks)
    for index, ids in enumerate(blocks):
        shown, labels = masking.hide(ids, *FIXED, index)
        rest = {"token_type_ids": [0] * len(ids), "attention_mask": [1] * len(ids)}
        result.features.append({"input_ids": shown, **rest, "labels": labels})
    logger.info("%s: %d texts, %d blocks of up to %d sub-tokens", split.origin, len(split), len(blocks), max_length)
    return result


def _lines(split: Texts, backend: Any, max_length: int) -> list[list[int]]:
    backend.enable_truncation(max_length)
    encodings = backend.encode_batch(split.texts)
    cut = sum(bool(encoding.overflowing) for encoding in encodings)
    if cut:
        logger.warning(
            "%s: %d of %d texts are cut to %d sub-tokens; without --line_by_line nothing is",
            *(split.origin, cut, len(split), max_length),
        )
    return [encoding.ids for encoding in encodings if not all(encoding.special_tokens_mask)]


def _packed(split: Texts, backend: Any, max_length: int, separator: int | None) -> Iterator[list[int]]:
    encodings = backend.encode_batch(split.texts, add_special_tokens=False)
    first = next((text for text, e in zip(split.texts, encodings, strict=True) if e.ids), None)
    if first is None:
        return
    before, after = _frame(backend.encode(first))
    size = max_length - len(before) - len(after)
    waiting: list[int] = []
    for encoding in encodings:
        waiting += encoding.ids
        if encoding.ids and separator is not None:
            waiting.append(separator)
        while len(waiting) >= size:
            yield [*before, *waiting[:size], *after]
            waiting = waiting[size:]
    if waiting[-1:] == [separator]:
        waiting.pop()  # the block ends with one
    if waiting:
        yield [*before, *waiting, *after]


def _frame(encoding: Any) -> tuple[Sequence[int], Sequence[int]]:
    """Special tokens before and after a text."""
    inner = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    return encoding.ids[: inner[0]], encoding.ids[inner[-1] + 1 :]
