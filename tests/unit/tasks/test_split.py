"""A split through anything that gives outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsify.tasks.base import Reading
from sparsify.tasks.split import answers, batches, prediction
from sparsify.tasks.token_classification.arguments import TokenArguments
from sparsify.tasks.token_classification.columns import Sentences
from sparsify.tasks.token_classification.task import TASK
from tests.helpers import ner


@pytest.fixture(scope="module")
def reading() -> Reading[Any, Any, Any]:
    rows = ner.rows(7)
    split = Sentences("here", [r["tokens"] for r in rows], [r["ner_tags"] for r in rows])
    made = Reading(TASK, TokenArguments(), {"validation": split}, ner.LABELS, ner.tokenizer(), None, 24)
    made.encode({"input_ids", "attention_mask"})
    return made


def perfect(reading: Reading[Any, Any, Any]) -> Any:
    """Logits that say each token's label; they are looked up by the tokens."""
    known = {tuple(f["input_ids"]): f["labels"] for f in reading.encoded["validation"].features}

    def run(inputs: dict[str, Any]) -> list[Any]:
        ids, mask = inputs["input_ids"], inputs["attention_mask"] == 1
        labels = np.zeros(ids.shape, dtype=int)
        for row in range(len(ids)):
            labels[row][mask[row]] = np.maximum(known[tuple(ids[row][mask[row]])], 0)
        return [np.eye(len(ner.LABELS))[labels]]

    return run


@pytest.mark.parametrize("shape", [(None, None), (None, 24), (4, 24), (3, None)])
@pytest.mark.parametrize("size", [1, 3, 16])
def test_all_examples_in_their_order_whatever_the_batch(
    reading: Reading[Any, Any, Any], shape: tuple[int | None, int | None], size: int
) -> None:
    seen: list[tuple[int, ...]] = []

    def run(inputs: dict[str, Any]) -> list[Any]:
        seen.append(inputs["input_ids"].shape)
        return perfect(reading)(inputs)

    found = list(answers(reading, "validation", run, ["input_ids", "attention_mask"], size, shape))
    assert sum(one.rows for one in found) == 7
    assert all(s[0] == shape[0] for s in seen if shape[0])
    assert all(s[1] == shape[1] for s in seen if shape[1])
    given = prediction([one.kept for one in found], [one.labels for one in found])
    measure = TASK.measure(reading, "validation")
    assert measure(given)["f1"] == 1.0


def test_a_few_only(reading: Reading[Any, Any, Any]) -> None:
    assert [len(b["input_ids"]) for b in batches(reading, "validation", 2, first=5)] == [2, 2, 1]


def test_outputs_of_several_parts_and_without_labels() -> None:
    kept = [(np.zeros((2, 3)), np.ones((2, 3))), (np.zeros((1, 5)), np.ones((1, 5)))]
    given = prediction(kept, [None, None])
    assert given.label_ids is None
    assert [part.shape for part in given.predictions] == [(3, 5), (3, 5)]
    assert given.predictions[1][0].tolist() == [1, 1, 1, -100, -100]
