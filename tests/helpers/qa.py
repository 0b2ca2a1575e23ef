"""A tiny question answering task that a tiny BERT learns in seconds, over the words of ``tests.helpers.ner``."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers import ner

WHO, WHERE, WHAT = "friend", "near", "saw"
"""The questions: for the person of a context, for its place, and for what no context says."""


def rows(count: int, seed: int = 0, *, negatives: bool = False, filler: int = 0) -> list[dict[str, Any]]:
    """Flat rows as the ``datasets`` library gives SQuAD: ``id``, ``context``, ``question``, ``answers``.

    Args:
        count: How many.
        seed: Of the words.
        negatives: Every third question has no answer.
        filler: Words before the part that answers.
    """
    rng = random.Random(seed)
    return [_row(rng, index, negatives and index % 3 == 2, filler) for index in range(count)]


def _row(rng: random.Random, index: int, unanswerable: bool, filler: int) -> dict[str, Any]:
    person, place = rng.choice(ner.PEOPLE), rng.choice(ner.PLACES)
    parts = [person, "met", "the", place]
    rng.shuffle(parts)
    context = " ".join([*(rng.choice(("and", "old", "left")) for _ in range(filler)), *parts])
    question, answer = ((WHO, person), (WHERE, place))[index % 2]
    answers: dict[str, Any] = {"text": [answer], "answer_start": [context.index(answer)]}
    if unanswerable:
        question, answers = WHAT, {"text": [], "answer_start": []}
    return {"id": f"q{seed_name(rng)}{index}", "context": context, "question": question, "answers": answers}


def seed_name(rng: random.Random) -> str:
    return f"{rng.randrange(16**6):06x}-"


def nested(flat: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same rows as SQuAD's own files hold them."""
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": row["question"],
                    "is_impossible": not row["answers"]["text"],
                    "answers": [
                        {"text": text, "answer_start": start}
                        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                    ],
                }
            ],
        }
        for row in flat
    ]
    return {"version": "v2.0", "data": [{"title": "tiny", "paragraphs": paragraphs}]}


def data_files(folder: Path, train: int = 64, other: int = 16, **options: Any) -> dict[str, Path]:
    """``train`` (nested JSON), ``validation`` and ``test`` (JSON Lines) files of ``rows``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.json"
    path.write_text(json.dumps(nested(rows(train, 0, **options))), encoding="utf-8")
    others = {
        name: ner.write_jsonl(folder / f"{name}.jsonl", rows(other, seed, **options))
        for seed, name in ((1, "validation"), (2, "test"))
    }
    return {"train": path, **others}


def model_folder(folder: Path, head: str = "MaskedLM", **options: Any) -> Path:
    """A model with tokenizer; by default one without a head for answers."""
    ner.model(head=head, **options).save_pretrained(folder)
    ner.tokenizer().save_pretrained(folder)
    return folder
