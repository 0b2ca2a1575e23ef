"""Cells -> lists of words and tags: which columns, how a cell is written, and what each problem's place is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsify.errors import InputError
from sparsify.tasks.cells import parse_list
from sparsify.tasks.readers import Table


@dataclass
class Sentences:
    """One split as words and tags.

    Attributes:
        origin: Where it comes from, for messages.
        words: Words of each sentence.
        tags: Tag names or class ids of each sentence; None where the data has no labels.
        names: Names of the class ids, where the source knows them.
    """

    origin: str
    words: list[list[str]]
    tags: list[list[str]] | list[list[int]] | None
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def has_ids(self) -> bool:
        """Whether tags are class ids."""
        return self.tags is not None and any(isinstance(t, int) for row in self.tags for t in row)

    def first(self, count: int | None) -> Sentences:
        """Only the first ``count`` sentences (all if None)."""
        tags: Any = self.tags if self.tags is None else self.tags[:count]
        return Sentences(self.origin, self.words[:count], tags, self.names)


def sentences(
    table: Table, *, text: str | None, label: str | None, task: str = "ner", labelled: bool = True
) -> Sentences:
    """Words and tags of a table.

    Args:
        table: Rows as read.
        text: Column of words; by default ``tokens``, else the first column.
        label: Column of tags; by default ``<task>_tags``, else the second column.
        task: Names the default label column.
        labelled: Whether tags are needed; without, a missing column is no error.

    Raises:
        InputError: A column does not exist (those that do are listed), there are no rows, a cell cannot be read, or a
            row has not as many tags as words (file and line are named).
    """
    if not table.rows:
        raise InputError(f"{table.origin}: the split is empty: no row in it")
    text_column = _text_column(table, text)
    label_column = _label_column(table, label, text_column, task, labelled)
    words = [_words(table, i, text_column) for i in range(len(table.rows))]
    if label_column is None or (not labelled and _kept_back(table, label_column)):
        return Sentences(table.origin, words, None)
    tags = [_tags(table, i, label_column) for i in range(len(table.rows))]
    for index, (w, t) in enumerate(zip(words, tags, strict=True)):
        if len(w) != len(t):
            raise InputError(f"{table.place(index)}: {len(w)} {text_column} but {len(t)} {label_column}")
    if len({type(t) for row in tags for t in row}) > 1:
        raise InputError(f"{table.origin}: column {label_column} mixes tag names and class ids")
    if not any(tags):
        raise InputError(f"{table.origin}: column {label_column} holds no tag at all")
    return Sentences(table.origin, words, tags, table.class_names.get(label_column))  # type: ignore[arg-type]


def _kept_back(table: Table, column: str) -> bool:
    """Whether no row has tags: test data that keeps them back."""
    return all(row.get(column) in (None, "", "[]", []) for row in table.rows)


def _text_column(table: Table, asked: str | None) -> str:
    if asked is not None:
        return table.column(asked, "--text_column_name")
    return "tokens" if "tokens" in table.columns else table.columns[0]


def _label_column(table: Table, asked: str | None, text: str, task: str, needed: bool) -> str | None:
    if asked is not None:
        return table.column(asked, "--label_column_name") if needed or asked in table.columns else None
    if f"{task}_tags" in table.columns:
        return f"{task}_tags"
    second = table.columns[1] if len(table.columns) > 1 else None
    if second is not None and second != text and _looks_like_tags(table, second, text):
        return second
    if not needed:
        return None
    raise InputError(
        f"{table.origin}: no column {task}_tags; name the column of tags with --label_column_name"
        f" (there are: {', '.join(table.columns)})"
    )


def _looks_like_tags(table: Table, column: str, text: str) -> bool:
    row = table.rows[0]
    try:
        return len(_cell(row.get(column))) == len(_cell(row.get(text)))
    except (TypeError, ValueError):
        return False


def _cell(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return parse_list(value)
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"expected a list, got {'nothing' if value is None else type(value).__name__}")


def _read(table: Table, index: int, column: str) -> Sequence[Any]:
    try:
        return _cell(table.rows[index].get(column))
    except (TypeError, ValueError) as error:
        raise InputError(f"{table.place(index)}: column {column}: {error}") from error


def _words(table: Table, index: int, column: str) -> list[str]:
    words = []
    for word in _read(table, index, column):
        if isinstance(word, bool) or not isinstance(word, str | int | float):
            raise InputError(f"{table.place(index)}: column {column}: {word!r} is not a word")
        words.append(str(word))
    return words


def _tags(table: Table, index: int, column: str) -> list[str | int]:
    tags: list[str | int] = []
    for tag in _read(table, index, column):
        if isinstance(tag, bool) or not isinstance(tag, str | int):
            raise InputError(f"{table.place(index)}: column {column}: {tag!r} is neither a tag nor a class id")
        # a cell "0 0 3" is class ids, as is a list of them
        tags.append(int(tag) if isinstance(tag, str) and re.fullmatch(r"\d+", tag) else tag)
    return tags
