"""Rows -> questions, contexts and answers: which columns, what a cell may hold, and what each problem's place is."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from sparsify.errors import InputError
from sparsify.tasks.question_answering.answers import Answer, locate, parse_answers
from sparsify.tasks.readers import Table

logger = logging.getLogger(__name__)
_ANSWERS = ("answers", "answer")
_IDS = ("id", "qid", "question_id")
_START = "answer_start"


@dataclass
class Questions:
    """One split as questions about contexts.

    Attributes:
        origin: Where it comes from, for messages.
        lines: Line of each question in its file.
        ids: A name of each, no two the same.
        questions: Their texts.
        contexts: The text that each is about.
        answers: Those of each, none where it has no answer; None where the data has no answers at all.
    """

    origin: str
    lines: list[int]
    ids: list[str]
    questions: list[str]
    contexts: list[str]
    answers: list[list[Answer]] | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Question and context of each."""
        return list(zip(self.questions, self.contexts, strict=True))

    def first(self, count: int | None) -> Questions:
        """Only the first ``count`` questions (all if None)."""
        answers = None if self.answers is None else self.answers[:count]
        texts = self.ids[:count], self.questions[:count], self.contexts[:count]
        return Questions(self.origin, self.lines[:count], *texts, answers)


def questions(
    table: Table, *, columns: tuple[str, ...] | None, label: str | None, labelled: bool, negatives: bool
) -> Questions:
    """Questions, contexts and answers of a table.

    Args:
        table: Rows as read.
        columns: Columns of question and context.
        label: Column of answers.
        labelled: Whether answers are needed.
        negatives: Whether questions without an answer are allowed.

    Raises:
        InputError: A column does not exist (those that do are listed), there are no rows, a cell cannot be used (file
            and line are named), or questions without answer are not allowed.
    """
    if not table.rows:
        raise InputError(f"{table.origin}: the split is empty: no question in it")
    asked, about = (table.column(name, "--input_column_names") for name in columns or ("question", "context"))
    column = _answer_column(table, label, needed=labelled)
    rows = range(len(table.rows))
    made = Questions(
        table.origin,
        table.lines,
        _ids(table),
        [_text(table, i, asked).strip() for i in rows],
        [_text(table, i, about) for i in rows],
        None if column is None else [_answers(table, i, column) for i in rows],
    )
    if not labelled and not negatives and made.answers is not None and not any(made.answers):
        made.answers = None  # a test set that keeps its answers back
    _check_negatives(made, negatives)
    _say_lost(made)
    return made


def _answer_column(table: Table, asked: str | None, *, needed: bool) -> str | None:
    if asked is not None and (needed or asked in table.columns):
        return table.column(asked, "--label_column_name")
    found = next((name for name in _ANSWERS if name in table.columns), None)
    if found is None and needed:
        raise InputError(
            f"{table.origin}: no column answers; name the column of answers with --label_column_name"
            f" (there are: {', '.join(table.columns)})"
        )
    return found


def _ids(table: Table) -> list[str]:
    column = next((name for name in _IDS if name in table.columns), None)
    given = [
        str(i) if column is None or row.get(column) is None else str(row[column]) for i, row in enumerate(table.rows)
    ]
    taken, count, names = set(given), Counter[str](), list[str]()
    again = len(given) - len(taken)
    for name in given:
        count[name] += 1
        free = name
        while count[name] > 1 and (free := f"{name}#{count[name]}") in taken:
            count[name] += 1
        taken.add(free)
        names.append(free)
    if again:
        logger.warning("%s: %d ids stand more than once; the later ones are numbered (ID#2)", table.origin, again)
    return names


def _text(table: Table, index: int, column: str) -> str:
    value = table.rows[index].get(column)
    if not isinstance(value, str):
        got = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(f"{table.place(index)}: column {column}: expected text, got {got}")
    return value


def _answers(table: Table, index: int, column: str) -> list[Answer]:
    row = table.rows[index]
    if row.get("is_impossible") in (True, "True", "true", "1"):
        return []
    try:
        return parse_answers(row.get(column), row.get(_START))
    except ValueError as error:
        raise InputError(f"{table.place(index)}: column {column}: {error}") from error


def _check_negatives(split: Questions, negatives: bool) -> None:
    if split.answers is None or negatives:
        return
    without = [i for i, found in enumerate(split.answers) if not found]
    if without:
        raise InputError(
            f"{split.origin}:{split.lines[without[0]]}: {len(without)} of {len(split)} questions have no answer, this"
            " the first: give --version_2_with_negative for data like SQuAD 2.0"
        )


def _say_lost(split: Questions) -> None:
    """Count answers that are not where they are said to be."""
    moved, lost, first = 0, 0, None
    for index, answers in enumerate(split.answers or ()):
        for given in answers:
            place = locate(split.contexts[index], given)
            if place is None:
                lost += 1
                first = split.lines[index] if first is None else first
            elif given.start is not None and not split.contexts[index].startswith(given.text, given.start):
                moved += 1
    if moved:
        logger.warning(
            "%s: %d answers do not stand at their answer_start; the nearest place in the context is used instead",
            *(split.origin, moved),
        )
    if lost:
        logger.warning(
            "%s: %d answers do not stand in their context at all (line %s first): they count in metrics, and nothing is"
            " learnt from them",
            *(split.origin, lost, first),
        )
