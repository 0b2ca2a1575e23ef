"""One list of labels for all splits and the model."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsify.errors import InputError
from sparsify.tasks.columns import Sentences

logger = logging.getLogger(__name__)


def label_list(
    splits: Mapping[str, Sentences], *, model_labels: Sequence[str] | None = None, given: str | None = None
) -> list[str]:
    """Labels of all splits together, in the order of their class ids.

    The order is that of the model where its labels cover the data's, else the one given, else the data set's own, else
    sorted with ``O`` first. Class ids are replaced by names in ``splits`` in place.

    Args:
        splits: The splits by name, ``train`` first if there is one.
        model_labels: Labels of the model's config; generic ones (``LABEL_0``) count as none.
        given: ``--class_names``: names separated by commas, or a file with a JSON list.

    Raises:
        InputError: A class id without a name, or no labels at all.
    """
    model_labels = None if model_labels is None or _generic(model_labels) else list(model_labels)
    known = _given(given) or next((s.names for s in splits.values() if s.names), None)
    labelled = {name: split for name, split in splits.items() if split.tags is not None}
    for split in labelled.values():
        if split.has_ids:
            _name_ids(split, known or split.names or model_labels)
    used = {name: {str(tag) for row in split.tags or () for tag in row} for name, split in labelled.items()}
    _say_unseen(used)
    every = set[str]().union(*used.values())
    if model_labels is not None and every <= set(model_labels):
        return model_labels
    if not every and known is None:
        raise InputError("neither the data nor the model says which labels there are; give --class_names O,B-...,I-...")
    if known is not None and every <= set(known):
        return list(known)
    return sorted(every | set(known or ()), key=lambda tag: (tag != "O", *_by_type(tag)))


def encode_tags(tags: Sequence[Sequence[str]], labels: Sequence[str]) -> list[list[int]]:
    """Class ids of tags."""
    index = {name: i for i, name in enumerate(labels)}
    return [[index[tag] for tag in row] for row in tags]


def inside_label(label: str, labels: Sequence[str]) -> str:
    """The label of a word's further sub-tokens: ``I-X`` for ``B-X`` where that exists."""
    inner = f"I-{label[2:]}"
    return inner if label.startswith("B-") and inner in labels else label


def _by_type(tag: str) -> tuple[str, str]:
    # B-person, I-person beside each other
    return (tag[2:], tag[:2]) if tag[1:2] == "-" else (tag, "")


def _given(text: str | None) -> list[str] | None:
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        if path.suffix == ".json" or "/" in text:
            raise InputError(f"--class_names: no file {text}")
        return [name.strip() for name in text.split(",") if name.strip()]
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--class_names {path}: not JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"--class_names {path}: expected a JSON list of names")
    return names


def _name_ids(split: Sentences, names: Sequence[str] | None) -> None:
    ids = {int(tag) for row in split.tags or () for tag in row}
    if names is None:
        logger.warning(
            "%s: class ids without names; precision, recall and F1 need names: give --class_names O,B-...,I-...",
            split.origin,
        )
        names = [str(i) for i in range(max(ids) + 1)]
    wrong = sorted(i for i in ids if not 0 <= i < len(names))
    if wrong:
        raise InputError(f"{split.origin}: class id {wrong[0]}, but there are names for 0 to {len(names) - 1} only")
    split.tags = [[names[int(tag)] for tag in row] for row in split.tags or ()]


def _say_unseen(used: Mapping[str, set[str]]) -> None:
    if "train" not in used:
        return
    for name, tags in used.items():
        unseen = sorted(tags - used["train"])
        if unseen:
            logger.warning("%s has tags that no training example has: %s", name, ", ".join(unseen))


def _generic(labels: Sequence[str]) -> bool:
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)
