"""Find entities in text with a deployment folder, through ONNX Runtime and its tokenizer alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sparsify.export.deployed import Deployment
from sparsify.export.entities import Entity, Word, group_entities
from sparsify.export.windows import stride_within


@dataclass(frozen=True, slots=True)
class _Window:
    """One stretch of a text that fits into the model: the text's index, and its tokens."""

    text: int
    ids: list[int]
    word_ids: list[int | None]
    offsets: list[tuple[int, int]]


class TokenClassifier:
    """A token classification deployment, ready to read text.

    Texts longer than the model's limit are split into overlapping windows; each word is taken from the window in
    which it stands farthest from an edge. A word's tag is that of its first piece, as in training.

    Args:
        deployment: The folder that ``sparsify-export`` wrote, or an opened one.
        threads: Threads of ONNX Runtime, 0 for its own choice.
        batch_size: Windows that run at once.
        stride: Tokens that neighbouring windows share; an eighth of the window by default.

    Raises:
        InputError: The folder is no deployment of a token classifier, or something in it is missing or broken.
    """

    def __init__(
        self,
        deployment: str | Path | Deployment,
        *,
        threads: int = 0,
        batch_size: int = 8,
        stride: int | None = None,
    ) -> None:
        opened = Deployment.of(deployment, threads=threads, batch_size=batch_size)
        opened.expect("token_classification", "entities")
        self._deployment = opened
        self.labels = opened.labels
        self.max_length = opened.max_length
        self._tokenizer = _windowed(opened, stride)

    @overload
    def __call__(self, texts: str) -> list[Entity]: ...

    @overload
    def __call__(self, texts: list[str] | list[list[str]]) -> list[list[Entity]]: ...

    def __call__(self, texts: str | list[str] | list[list[str]]) -> list[Entity] | list[list[Entity]]:
        """Find the entities of one text, or of each of several.

        Args:
            texts: A text, or texts; one that is a list of words counts as the words joined by spaces.
        """
        many: Sequence[str | Sequence[str]] = [texts] if isinstance(texts, str) else texts
        joined = [text if isinstance(text, str) else " ".join(text) for text in many]
        found = [group_entities(text, words) for text, words in zip(joined, self.words(many), strict=True)]
        return found[0] if isinstance(texts, str) else found

    def words(self, texts: Sequence[str | Sequence[str]]) -> list[list[Word]]:
        """Each text's words with their tags, ``O`` included."""
        windows = [window for i, text in enumerate(texts) for window in self._windows(i, text)]
        order = sorted(range(len(windows)), key=lambda i: len(windows[i].ids))
        best: list[dict[int, tuple[int, Word]]] = [{} for _ in texts]
        rows = iter(order)
        while chunk := [windows[i] for i in islice(rows, self._deployment.size)]:
            for window, logits in zip(chunk, self._run(chunk), strict=True):
                for index, context, word in self._read(window, logits):
                    if index not in best[window.text] or context > best[window.text][index][0]:
                        best[window.text][index] = (context, word)
        return [[words[index][1] for index in sorted(words)] for words in best]

    def _windows(self, index: int, text: str | Sequence[str]) -> Iterator[_Window]:
        split = not isinstance(text, str)
        first = self._tokenizer.encode(list(text) if split else text, is_pretokenized=split)
        starts = _word_starts(text) if split else None
        for part in [first, *first.overflowing]:
            shifts = [starts[w] if starts is not None and w is not None else 0 for w in part.word_ids]
            offsets = [(a + shift, b + shift) for (a, b), shift in zip(part.offsets, shifts, strict=True)]
            yield _Window(index, part.ids, part.word_ids, offsets)

    def _run(self, windows: list[_Window]) -> NDArray[np.float32]:
        """Logits [windows, length, labels]."""
        return self._deployment.outputs(["logits"], [window.ids for window in windows])[0]

    def _read(self, window: _Window, logits: NDArray[np.float32]) -> Iterator[tuple[int, int, Word]]:
        """For each word that begins in the window: its index, its distance from the nearer edge, its tag."""
        ends: dict[int, int] = {}
        for word, (_, end) in zip(window.word_ids, window.offsets, strict=True):
            if word is not None:
                ends[word] = end
        before: int | None = None
        for place, (word, (start, _)) in enumerate(zip(window.word_ids, window.offsets, strict=True)):
            if word is not None and word != before:
                scores = np.exp(logits[place] - logits[place].max())
                tag = int(scores.argmax())
                score = float(scores[tag] / scores.sum())
                yield word, min(place, len(window.ids) - place), Word(self.labels[tag], score, start, ends[word])
            before = word


def _windowed(deployment: Deployment, stride: int | None) -> Any:
    """The deployment's tokenizer, splitting long texts into windows that share ``stride`` tokens."""
    tokenizer, length = deployment.tokenizer(), deployment.max_length
    left = length - tokenizer.num_special_tokens_to_add(False)
    tokenizer.enable_truncation(length, stride=stride_within(stride, length // 8, left, length))
    return tokenizer


def _word_starts(words: Sequence[str]) -> list[int]:
    starts, place = [], 0
    for word in words:
        starts.append(place)
        place += len(word) + 1
    return starts
