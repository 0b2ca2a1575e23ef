from __future__ import annotations

import pytest

from sparsify.errors import InputError
from sparsify.export.samples import PAIRS
from sparsify.tasks.text_classification.glue import GLUE, glue_name


@pytest.mark.parametrize(
    ("text", "name"),
    [("mrpc", "mrpc"), ("SST-2", "sst2"), ("sts_b", "stsb"), ("QNLI", "qnli"), (None, None), ("glue", None)],
)
def test_names_as_people_write_them(text: str | None, name: str | None) -> None:
    assert glue_name(text) == name


@pytest.mark.parametrize("kind", ["text_classification", "text-classification", "Sequence Classification"])
def test_the_name_of_the_kind_is_no_task_of_glue(kind: str) -> None:
    assert glue_name(kind) is None


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean mrpc\?"):
        glue_name("mrcp")


def test_every_class_task_has_two_or_three_names_and_stsb_none() -> None:
    assert {name: len(task.labels) for name, task in GLUE.items() if len(task.labels) != 2} == {"mnli": 3, "stsb": 0}
    assert {task.columns for task in GLUE.values() if len(task.columns) == 2} <= set(PAIRS)
