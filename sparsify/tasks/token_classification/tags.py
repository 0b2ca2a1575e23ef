"""Tags of words: how they are ordered, and what further sub-tokens carry."""

from __future__ import annotations

from collections.abc import Sequence

from sparsify.tasks.labels import Style


def inside_label(label: str, labels: Sequence[str]) -> str:
    """The label of a word's further sub-tokens: ``I-X`` for ``B-X`` where that exists."""
    inner = f"I-{label[2:]}"
    return inner if label.startswith("B-") and inner in labels else label


def _order(tag: str) -> tuple[bool, str, str]:
    # O first; then B-person, I-person beside each other
    return (tag != "O", tag[2:], tag[:2]) if tag[1:2] == "-" else (tag != "O", tag, "")


TAGS = Style("tags", "O,B-...,I-...", _order, "precision, recall and F1 need names")
