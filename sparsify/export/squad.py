"""SQuAD's nested JSON -> one row per question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def is_nested(rows: Sequence[Any]) -> bool:
    """Whether rows are articles with paragraphs, as in SQuAD's own files."""
    return bool(rows) and all(isinstance(row, Mapping) and isinstance(row.get("paragraphs"), list) for row in rows)


def questions_of(articles: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each question of some articles as a row: ``id``, ``title``, ``context``, ``question``, ``answers``.

    ``answers`` is left out where a question has neither answers nor ``is_impossible``: a test set without labels.

    Args:
        articles: What SQuAD's files (Rajpurkar et al., 2016, arXiv:1606.05250) hold under ``data``.
    """
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph.get("qas") or ():
                row = {"title": article.get("title", ""), "context": paragraph.get("context")}
                row |= {key: question[key] for key in ("id", "question") if key in question}
                if question.get("is_impossible"):
                    row["answers"] = []  # SQuAD 2.0 keeps misleading spans beside it, as plausible_answers
                elif "answers" in question:
                    row["answers"] = question["answers"]
                yield row
