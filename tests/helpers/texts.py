"""Tiny text classification tasks that a tiny BERT learns in seconds, over the words of ``tests.helpers.ner``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.helpers import ner

LABELS = ["person", "place"]
_CHOICES: dict[str, tuple[Any, Any]] = {
    "single": ("person", "place"),
    "ids": (0, 1),
    "multi": (["person"], ["place"]),
    "number": (0.5, 2.5),
}


def rows(count: int, seed: int = 0, kind: str = "single", pair: bool = False) -> list[dict[str, Any]]:
    """Texts that name a person or a place; of pairs the second does.

    Args:
        count: How many; the two kinds take turns.
        seed: Of the words.
        kind: ``single`` (class names), ``ids``, ``multi`` (lists of names, some with both) or ``number``.
        pair: Give ``question`` and ``sentence`` in place of ``text``.
    """
    rng = random.Random(seed)
    return [_row(rng, index, kind, pair) for index in range(count)]


def _row(rng: random.Random, index: int, kind: str, pair: bool) -> dict[str, Any]:
    names = [rng.choice((ner.PEOPLE, ner.PLACES)[index % 2])]
    label = _CHOICES[kind][index % 2]
    if kind == "multi" and index % 3 == 0:
        names, label = [rng.choice(ner.PEOPLE), rng.choice(ner.PLACES)], LABELS
    words = [rng.choice(ner.PLAIN), *names, rng.choice(ner.PLAIN)]
    text = " ".join(words)
    if pair:
        return {"question": rng.choice(ner.PLAIN), "sentence": text, "label": label}
    return {"text": text, "label": label}


def data_files(folder: Path, train: int = 48, other: int = 16, **options: Any) -> dict[str, Path]:
    """``train``, ``validation`` and ``test`` files of ``rows``."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"train": train, "validation": other, "test": other}
    return {
        name: ner.write_jsonl(folder / f"{name}.jsonl", rows(count, seed, **options))
        for seed, (name, count) in enumerate(counts.items())
    }


def model_folder(folder: Path, labels: list[str] | None = None, **options: Any) -> Path:
    """A text classifier with tokenizer; a masked language model where there are no labels."""
    head = "SequenceClassification" if labels else "MaskedLM"
    ner.model(labels, head=head, **options).save_pretrained(folder)
    ner.tokenizer().save_pretrained(folder)
    return folder
