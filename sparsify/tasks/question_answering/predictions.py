"""From start and end scores to answers, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsify.export.spans import Answered, SpanRules, answer
from sparsify.recipe.files import write_atomically
from sparsify.tasks.question_answering.columns import Questions
from sparsify.tasks.question_answering.encode import EncodedWindows

Array = np.ndarray[Any, Any]


def answered(split: Questions, encoded: EncodedWindows, outputs: Sequence[Array], rules: SpanRules) -> list[Answered]:
    """What a model says to each question of a split.

    Args:
        split: The questions.
        encoded: Their windows.
        outputs: Scores of starts and of ends, each [windows, length].
        rules: Which spans may be an answer.
    """
    starts, ends = (np.asarray(one) for one in outputs[:2])
    windows: list[list[int]] = [[] for _ in split.ids]
    for window, question in enumerate(encoded.questions):
        windows[question].append(window)
    return [
        answer(context, [encoded.offsets[w] for w in own], list(starts[own]), list(ends[own]), rules)
        for context, own in zip(split.contexts, windows, strict=True)
    ]


def write(split: Questions, found: Sequence[Answered], folder: Path, prefix: str = "") -> list[Path]:
    """Write ``predictions.json``, ``nbest_predictions.json`` and, where no answer may be right, ``null_odds.json``.

    Each maps the ids of questions; ``predictions.json`` is what SQuAD's own evaluation reads.
    """
    pairs = list(zip(split.ids, found, strict=True))
    files: dict[str, dict[str, Any]] = {
        "predictions": {name: one.text for name, one in pairs},
        "nbest_predictions": {name: [_candidate(c) for c in one.candidates] for name, one in pairs},
    }
    if any(one.null_odds is not None for one in found):
        files["null_odds"] = {name: one.null_odds for name, one in pairs}
    written = []
    for name, content in files.items():
        path = folder / f"{prefix}{name}.json"
        write_atomically(path, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _candidate(candidate: Any) -> dict[str, Any]:
    return {
        "text": candidate.text,
        "probability": candidate.probability,
        "start_logit": candidate.start_logit,
        "end_logit": candidate.end_logit,
        "start": candidate.start,
        "end": candidate.end,
    }
