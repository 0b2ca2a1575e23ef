"""Answers to questions about texts, by a deployment folder, through ONNX Runtime and its tokenizer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.export.deployed import Deployment
from sparsify.export.spans import Answered, SpanRules, answer
from sparsify.export.windows import Window, room, stride_within, usual_stride, windows

CONFIG_KEY = "question_answering"
"""Where a model's configuration says how its answers are read."""
OUTPUTS = ("start_logits", "end_logits")


def rules_of(config: dict[str, Any]) -> SpanRules:
    """Which spans may be an answer, as a model's ``config.json`` says; the usual rules where it does not."""
    kept = config.get(CONFIG_KEY)
    named = kept if isinstance(kept, dict) else {}
    usual = SpanRules()
    return SpanRules(
        max_tokens=int(named.get("max_answer_length", usual.max_tokens)),
        negatives=bool(named.get("version_2_with_negative", usual.negatives)),
        threshold=float(named.get("null_score_diff_threshold", usual.threshold)),
    )


class QuestionAnswerer:
    """A question answering deployment, ready to read texts.

    Texts longer than the model's limit are read in overlapping windows, each behind the whole question.

    Args:
        deployment: The folder that ``sparsify-export`` wrote, or an opened one.
        threads: Threads of ONNX Runtime, 0 for its own choice.
        batch_size: Windows that run at once.
        stride: Tokens that neighbouring windows share; a third of the window, at most 128, by default.
        n_best: Candidates given of each question.

    Attributes:
        rules: Which spans may be an answer: what the model was trained with.

    Raises:
        InputError: The folder is no deployment of such a model, or something in it is missing or broken.
    """

    def __init__(
        self,
        deployment: str | Path | Deployment,
        *,
        threads: int = 0,
        batch_size: int = 8,
        stride: int | None = None,
        n_best: int = 1,
    ) -> None:
        opened = Deployment.of(deployment, threads=threads, batch_size=batch_size)
        opened.expect("question_answering", "answers")
        self._deployment = opened
        self._tokenizer = opened.tokenizer()
        length = opened.max_length
        self._stride = stride_within(stride, usual_stride(length), room(self._tokenizer, length), length)
        self.rules = replace(rules_of(opened.config), n_best=n_best)

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Answered]:
        """Answer questions.

        Args:
            pairs: Each question and the text that it is about.
        """
        length = self._deployment.max_length
        asked = [(question.strip(), context) for question, context in pairs]
        parts = list(windows(self._tokenizer, asked, max_length=length, stride=self._stride))
        scores = self._scores(parts)
        own: list[list[int]] = [[] for _ in pairs]
        for index, part in enumerate(parts):
            own[part.pair].append(index)
        return [
            answer(
                context,
                [parts[i].offsets for i in mine],
                [scores[i][0] for i in mine],
                [scores[i][1] for i in mine],
                self.rules,
            )
            for (_, context), mine in zip(asked, own, strict=True)
        ]

    def _scores(self, parts: Sequence[Window]) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Scores of starts and of ends of each window; windows of like length run together."""
        order = iter(sorted(range(len(parts)), key=lambda i: len(parts[i].ids)))
        found: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        while chunk := list(islice(order, self._deployment.size)):
            ids, types = [parts[i].ids for i in chunk], [parts[i].type_ids for i in chunk]
            starts, ends = self._deployment.outputs(OUTPUTS, ids, types)
            found |= {i: (starts[row], ends[row]) for row, i in enumerate(chunk)}
        return found
