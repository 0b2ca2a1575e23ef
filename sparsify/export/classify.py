"""Classes of texts, or of pairs of texts, by a deployment folder, through ONNX Runtime and its tokenizer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.export.deployed import Deployment

Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Classified:
    """What a model says of a text.

    Attributes:
        labels: The class; of several classes at once those above one half, most likely first; empty for a number.
        scores: Probability of every class, in the model's order; the number itself where it predicts one.
    """

    labels: list[str]
    scores: dict[str, float]


class TextClassifier:
    """A text classification deployment, ready to read texts.

    Texts longer than the model's limit are cut, the longer one of a pair first, as in training.

    Args:
        deployment: The folder that ``sparsify-export`` wrote, or an opened one.
        threads: Threads of ONNX Runtime, 0 for its own choice.
        max_length: Tokens kept of each text; the model's limit by default.

    Raises:
        InputError: The folder is no deployment of a text classifier, or something in it is missing or broken.
    """

    def __init__(self, deployment: str | Path | Deployment, *, threads: int = 0, max_length: int | None = None) -> None:
        opened = Deployment.of(deployment, threads=threads)
        opened.expect("text_classification", "classes of texts")
        self._deployment = opened
        self.labels = opened.labels
        self.problem = opened.facts.get("problem_type") or opened.config.get("problem_type")
        self._tokenizer = opened.tokenizer()
        self._tokenizer.enable_truncation(min(opened.max_length, max_length or opened.max_length))

    def __call__(self, texts: Sequence[Text]) -> list[Classified]:
        """Classify texts, or pairs of them, in their order."""
        encoded = [self._tokenizer.encode(*([text] if isinstance(text, str) else text)) for text in texts]
        order = iter(sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids)))
        found: dict[int, Classified] = {}
        while chunk := list(islice(order, self._deployment.size)):
            rows: list[Any] = [encoded[i] for i in chunk]
            ids, segments = [row.ids for row in rows], [row.type_ids for row in rows]
            (logits,) = self._deployment.outputs(["logits"], ids, segments)
            found |= {i: self._said(row) for i, row in zip(chunk, logits, strict=True)}
        return [found[i] for i in range(len(encoded))]

    def _said(self, logits: NDArray[np.float32]) -> Classified:
        if self.problem == "regression":
            return Classified([], dict(zip(self.labels, map(float, logits), strict=True)))
        if self.problem == "multi_label_classification":
            chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
        else:
            powers = np.exp(logits.astype(np.float64) - logits.max())
            chances = powers / powers.sum()
        scores = dict(zip(self.labels, map(float, chances), strict=True))
        ranked = sorted(scores, key=lambda label: -scores[label])
        several = self.problem == "multi_label_classification"
        return Classified([label for label in ranked if scores[label] > 0.5] if several else ranked[:1], scores)
