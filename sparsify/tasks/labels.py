"""One list of classes for all splits and the model."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sparsify.errors import InputError
from sparsify.zoo.names import expanded

logger = logging.getLogger(__name__)
_MANY, _MANY_EACH = 10_000, 100
"""From so large an id on, if so few ids occur, numbers are taken for no class ids."""


class Labelled(Protocol):
    """A split whose rows carry labels.

    Attributes:
        origin: Where it comes from, for messages.
        tags: Names or class ids, any number a row; None where the data has no labels.
        names: Names of the class ids, where the source knows them.
    """

    origin: str
    tags: list[list[str]] | list[list[int]] | None
    names: list[str] | None

    @property
    def has_ids(self) -> bool:
        """Whether labels are class ids."""
        ...


@dataclass(frozen=True, slots=True)
class Style:
    """How a task speaks of its labels.

    Attributes:
        what: Several of them.
        example: What ``--class_names`` may be given.
        order: Sort key where nothing else orders them.
        lost: What class ids without names cost; None where that is no loss worth a word.
    """

    what: str
    example: str
    order: Callable[[str], Any]
    lost: str | None = None


def label_list(
    splits: Mapping[str, Labelled],
    style: Style,
    *,
    model_labels: Sequence[str] | None = None,
    given: str | None = None,
) -> list[str]:
    """Labels of all splits together, in the order of their class ids.

    The order is that of the model where its labels cover the data's, else the one given, else the data set's own, else
    the style's. Class ids are replaced by names in ``splits`` in place.

    Args:
        splits: The splits by name, ``train`` first if there is one.
        style: How the task speaks of labels.
        model_labels: Labels of the model's config; generic ones (``LABEL_0``) count as none.
        given: ``--class_names``: names separated by commas, or a file with a JSON list.

    Raises:
        InputError: A class id without a name, or no labels at all.
    """
    classes = len(model_labels or ())
    model_labels = None if model_labels is None or generic(model_labels) else list(model_labels)
    known = _given(given) or next((s.names for s in splits.values() if s.names), None)
    labelled = {name: split for name, split in splits.items() if split.tags is not None}
    with_ids = [split for split in labelled.values() if split.has_ids]
    if with_ids and known is None and model_labels is None:
        known = _numbered(with_ids, classes, style)
    for split in with_ids:
        _name_ids(split, known or model_labels or ())
    used = {name: {str(tag) for row in split.tags or () for tag in row} for name, split in labelled.items()}
    _say_unseen(used, style)
    every = set[str]().union(*used.values())
    if model_labels is not None and every <= set(model_labels):
        return model_labels
    if not every and known is None:
        raise InputError(
            f"neither the data nor the model says which labels there are; give --class_names {style.example}"
        )
    if known is not None and every <= set(known):
        return list(known)
    return sorted(every | set(known or ()), key=style.order)


def _given(text: str | None) -> list[str] | None:
    if text is None:
        return None
    path = expanded(text)
    if path.is_file():
        names = _listed(path)
    elif path.suffix == ".json" or "/" in text:
        raise InputError(f"--class_names: no file {text}")
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--class_names {text}: {twice!r} stands there twice; each class has a name of its own")
    return names


def _listed(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--class_names {path}: not JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"--class_names {path}: expected a JSON list of names")
    return names


def _numbered(splits: Sequence[Labelled], classes: int, style: Style) -> list[str]:
    """The ids themselves as names: all up to the largest, so that each stays the position of its output."""
    if style.lost:
        origin = splits[0].origin
        logger.warning("%s: class ids without names; %s: give --class_names %s", origin, style.lost, style.example)
    ids = {int(tag) for split in splits for row in split.tags or () for tag in row}
    largest = max(ids, default=0)
    if largest >= _MANY and largest >= _MANY_EACH * len(ids):
        raise InputError(
            f"{splits[0].origin}: class ids up to {largest}, of which {len(ids)} occur: each up to the largest would be a"
            " class of the model; number them from 0, or give --problem_type regression if they are no classes"
        )
    return [str(i) for i in range(max(largest + 1, classes))]


def _name_ids(split: Labelled, names: Sequence[str]) -> None:
    ids = {int(tag) for row in split.tags or () for tag in row}
    wrong = sorted(i for i in ids if not 0 <= i < len(names))
    if wrong:
        raise InputError(f"{split.origin}: class id {wrong[0]}, but there are names for 0 to {len(names) - 1} only")
    split.tags = [[names[int(tag)] for tag in row] for row in split.tags or ()]


def _say_unseen(used: Mapping[str, set[str]], style: Style) -> None:
    if "train" not in used:
        return
    for name, tags in used.items():
        unseen = sorted(tags - used["train"])
        if unseen:
            logger.warning("%s has %s that no training example has: %s", name, style.what, ", ".join(unseen))


def generic(labels: Sequence[str]) -> bool:
    """Whether labels are those that transformers makes up (``LABEL_0``)."""
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)
