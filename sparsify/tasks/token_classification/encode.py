"""Sentences -> model inputs with labels on sub-tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparsify.tasks.base import Encoded
from sparsify.tasks.token_classification.columns import Sentences
from sparsify.tasks.token_classification.loss import IGNORED
from sparsify.tasks.token_classification.tags import inside_label
from sparsify.tasks.tokenizers import use_threads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


@dataclass
class EncodedTokens(Encoded):
    """A split as the model reads it.

    Attributes:
        first_tokens: For each sentence and word, the position of its first sub-token; -1 where it has none.
    """

    first_tokens: list[list[int]] = field(default_factory=list)


def encode(
    split: Sentences,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    *,
    max_length: int,
    all_tokens: bool = False,
    workers: int | None = None,
) -> EncodedTokens:
    """Tokenize sentences of words and put each word's label on its first sub-token, -100 elsewhere.

    Args:
        split: Words and tag names.
        tokenizer: A fast tokenizer.
        labels: All labels, in the order of their ids.
        max_length: Sub-tokens kept of each sentence, special ones included.
        all_tokens: Label further sub-tokens too, B- becoming I-.
        workers: Threads the tokenizer may use.
    """
    use_threads(workers)
    batch = tokenizer(split.words, is_split_into_words=True, truncation=True, max_length=max_length)
    ids = {name: i for i, name in enumerate(labels)}
    further = {ids[name]: ids[inside_label(name, labels)] for name in labels}
    result, lost = EncodedTokens([]), _Lost()
    for index, words in enumerate(split.words):
        word_ids = batch.word_ids(index)
        first = _first_tokens(word_ids, len(words))
        features = {key: values[index] for key, values in batch.items()}
        if split.tags is not None:
            tags = [str(tag) for tag in split.tags[index]]
            features["labels"] = _labels(word_ids, [ids[tag] for tag in tags], further if all_tokens else None)
            lost.count(first, tags, cut=len(word_ids) >= max_length)
        result.features.append(features)
        result.first_tokens.append(first)
    lost.say(split.origin, max_length)
    return result


@dataclass
class _Lost:
    entities: int = 0
    words: int = 0
    sentences: int = 0
    silent: int = 0

    def count(self, first: list[int], tags: list[str], cut: bool) -> None:
        last = max((i for i, token in enumerate(first) if token >= 0), default=-1)
        seen = last if cut else len(first) - 1
        self.silent += sum(token < 0 for token in first[: seen + 1])
        unseen = len(first) - seen - 1
        self.words += unseen
        self.sentences += unseen > 0
        self.entities += sum(end > seen + 1 for _, end in entity_spans(tags))

    def say(self, origin: str, max_length: int) -> None:
        if self.words:
            logger.warning(
                "%s: %d entities are cut off, wholly or in part, by truncation to %d sub-tokens; %d words of %d"
                " sentences are not seen, nor measured; --max_seq_length sets the limit",
                *(origin, self.entities, max_length, self.words, self.sentences),
            )
        if self.silent:
            logger.warning("%s: %d words become no sub-token at all and are left out", origin, self.silent)


def entity_spans(tags: Sequence[str]) -> list[tuple[int, int]]:
    """Entities as [start, end) word positions, of any type; a single token each where tags are in no chunk scheme."""
    spans: list[tuple[int, int]] = []
    previous = "O"
    for index, tag in enumerate(tags):
        if tag != "O":
            if _continues(previous, tag):
                spans[-1] = (spans[-1][0], index + 1)
            else:
                spans.append((index, index + 1))
        previous = tag
    return spans


def _continues(previous: str, tag: str) -> bool:
    return tag[:2] in ("I-", "E-", "L-") and previous[:2] in ("B-", "I-") and previous[2:] == tag[2:]


def _first_tokens(word_ids: Sequence[int | None], words: int) -> list[int]:
    first = [-1] * words
    for position, word in enumerate(word_ids):
        if word is not None and first[word] < 0:
            first[word] = position
    return first


def _labels(word_ids: Sequence[int | None], tags: list[int], further: dict[int, int] | None) -> list[int]:
    labels, previous = [], None
    for word in word_ids:
        if word is None:
            labels.append(IGNORED)
        elif word != previous:
            labels.append(tags[word])
        else:
            labels.append(IGNORED if further is None else further[tags[word]])
        previous = word
    return labels


def collator(tokenizer: PreTrainedTokenizerFast, *, max_length: int | None = None, multiple: int | None = None) -> Any:
    """Pads features to the longest of the batch, or to ``max_length``."""
    from transformers import DataCollatorForTokenClassification

    padding = "max_length" if max_length is not None else True
    return DataCollatorForTokenClassification(
        tokenizer, padding=padding, max_length=max_length, pad_to_multiple_of=multiple, label_pad_token_id=IGNORED
    )
