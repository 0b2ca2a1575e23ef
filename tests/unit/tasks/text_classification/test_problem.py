from __future__ import annotations

from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.labels import label_list
from sparsify.tasks.text_classification.columns import Texts
from sparsify.tasks.text_classification.problem import CLASSES, MULTI, REGRESSION, SINGLE, problem_of, settle


def split(*cells: Any) -> Texts:
    count = len(cells)
    return Texts("data", list(range(1, count + 1)), [("x",)] * count, list(cells))


@pytest.mark.parametrize(
    ("cells", "problem"),
    [(["a", "b"], SINGLE), ([0, 1], None), ([0.5, 1.0], REGRESSION), ([0, 1.5], REGRESSION), ([["a"], []], MULTI)],
)
def test_labels_say_what_they_are(cells: list[Any], problem: str | None) -> None:
    assert problem_of({"train": split(*cells)}, None) == problem


def test_one_split_decides_for_all() -> None:
    assert problem_of({"train": split(0, 1), "validation": split(["a"])}, None) == MULTI
    assert problem_of({"test": Texts("t", [1], [("x",)], None)}, None) is None


def test_what_is_asked_for_holds() -> None:
    assert problem_of({"train": split(0, 1)}, REGRESSION) == REGRESSION
    with pytest.raises(InputError, match="there is single_label_classification"):
        problem_of({}, "classes")


def test_classes_become_rows_of_tags() -> None:
    splits = {"train": split("a", "b"), "validation": split(1)}
    settle(splits, SINGLE)
    assert splits["train"].tags == [["a"], ["b"]]
    assert splits["validation"].tags == [["1"]]  # where some are names, all are
    splits = {"train": split(["a", "b"], [], "c")}
    settle(splits, MULTI)
    assert splits["train"].tags == [["a", "b"], [], ["c"]]


def test_whole_numbers_written_as_fractions_are_ids_where_classes_are_asked_for() -> None:
    splits = {"train": split(0.0, 1.0)}
    settle(splits, SINGLE)
    assert splits["train"].tags == [[0], [1]]


def test_numbers_are_values() -> None:
    splits = {"train": split(1, 2.5)}
    settle(splits, REGRESSION)
    assert splits["train"].values == [1.0, 2.5]


@pytest.mark.parametrize(
    ("cell", "problem", "told"),
    [
        ("a", REGRESSION, "data:1: label 'a' is no number"),
        (["a"], SINGLE, "data:1: a list of labels"),
        (0.5, SINGLE, "data:1: label 0.5 is no class; is it --problem_type regression?"),
    ],
)
def test_labels_that_do_not_fit_name_their_line(cell: Any, problem: str, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        settle({"train": split(cell)}, problem)


def test_ids_without_names_count_on_and_keep_their_positions() -> None:
    splits = {"train": split(*[10, 2, 0])}
    settle(splits, SINGLE)
    assert label_list(splits, CLASSES) == [str(i) for i in range(11)]


def test_a_model_with_made_up_names_keeps_its_number_of_classes() -> None:
    splits = {"train": split(0, 1)}
    settle(splits, SINGLE)
    assert label_list(splits, CLASSES, model_labels=["LABEL_0", "LABEL_1", "LABEL_2"]) == ["0", "1", "2"]
