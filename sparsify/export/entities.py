"""Tags of words -> entities: BIO, BIOES, BILOU and plain labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_BEGIN, _INSIDE, _END, _SINGLE = "B", "I", "EL", "SU"
_OUTSIDE = ("O", "")


@dataclass(frozen=True, slots=True)
class Word:
    """A word's tag, its probability, and its place in the text (characters, end exclusive)."""

    tag: str
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity in a text.

    Attributes:
        text: As it stands in the text.
        label: Its type, without ``B-`` and the like.
        score: Mean probability of its words' tags.
        start: First character.
        end: Character after the last.
    """

    text: str
    label: str
    score: float
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str]:
    """A tag's prefix and label: ``B-PER`` is ("B", "PER"), ``PER`` is ("", "PER"), ``O`` is ("O", "")."""
    prefix, dash, label = tag.partition("-")
    if dash and prefix in {_BEGIN, _INSIDE, *_END, *_SINGLE}:
        return prefix, label
    return ("O", "") if tag in _OUTSIDE else ("", tag)


def group_entities(text: str, words: Iterable[Word]) -> list[Entity]:
    """Join tagged words, in text order, to entities.

    A tag that continues nothing (``I-`` after ``O`` or another label) begins an entity, as seqeval counts it.
    """
    groups: list[tuple[str, list[Word]]] = []
    is_open = False
    for word in words:
        prefix, label = split_tag(word.tag)
        if prefix == "O":
            is_open = False
            continue
        continues = is_open and groups[-1][0] == label and prefix not in (_BEGIN, *_SINGLE)
        if continues:
            groups[-1][1].append(word)
        else:
            groups.append((label, [word]))
        is_open = not (prefix and prefix in _END + _SINGLE)
    return [_entity(text, label, members) for label, members in groups]


def _entity(text: str, label: str, words: list[Word]) -> Entity:
    start, end = words[0].start, words[-1].end
    return Entity(text[start:end], label, sum(word.score for word in words) / len(words), start, end)
