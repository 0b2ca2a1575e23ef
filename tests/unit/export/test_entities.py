"""Tests of sparsify.export.entities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from sparsify.export.entities import Entity, Word, group_entities, split_tag


def words(tags: list[str]) -> list[Word]:
    """One-letter words, a space between them."""
    return [Word(tag, 0.5, 2 * i, 2 * i + 1) for i, tag in enumerate(tags)]


def spans(tags: list[str]) -> list[tuple[str, int, int]]:
    return [(e.label, e.start // 2, e.end // 2) for e in group_entities("x " * len(tags), words(tags))]


@given(st.lists(st.sampled_from(["O", *(f"{prefix}-{label}" for prefix in "BIES" for label in ("A", "B"))])))
def test_entities_are_those_that_seqeval_counts(tags: list[str]) -> None:
    assert spans(tags) == [tuple(found) for found in get_entities(tags)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["U-A", "U-A"], [("A", 0, 0), ("A", 1, 1)]),
        (["B-A", "I-A", "L-A", "I-A"], [("A", 0, 2), ("A", 3, 3)]),
        (["A", "A", "B", "O", "B"], [("A", 0, 1), ("B", 2, 2), ("B", 4, 4)]),
        (["B-creative-work", "I-creative-work"], [("creative-work", 0, 1)]),
        ([], []),
    ],
)
def test_other_schemes(tags: list[str], expected: list[tuple[str, int, int]]) -> None:
    assert spans(tags) == expected


@pytest.mark.parametrize(
    ("tag", "parts"),
    [("B-a-b", ("B", "a-b")), ("O", ("O", "")), ("NN", ("", "NN")), ("X-ray", ("", "X-ray")), ("", ("O", ""))],
)
def test_split_tag(tag: str, parts: tuple[str, str]) -> None:
    assert split_tag(tag) == parts


def test_an_entity_is_text_label_score_and_place() -> None:
    text = "in New  York."
    found = group_entities(text, [Word("O", 1.0, 0, 2), Word("B-loc", 0.9, 3, 6), Word("I-loc", 0.7, 8, 12)])
    assert found == [Entity("New  York", "loc", pytest.approx(0.8), 3, 12)]
