from __future__ import annotations

import logging
from typing import Any

import pytest

from sparsify.tasks.text_classification.columns import Texts
from sparsify.tasks.text_classification.encode import collator, encode
from sparsify.tasks.text_classification.problem import MULTI, REGRESSION, SINGLE
from tests.helpers import ner


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return ner.tokenizer()


def split(*texts: tuple[str, ...], **filled: Any) -> Texts:
    return Texts("data", list(range(len(texts))), list(texts), None, **filled)


def test_a_pair_is_two_segments(tokenizer: Any) -> None:
    row = encode(split(("ada met", "oslo")), tokenizer, [], SINGLE, max_length=20).features[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "ada", "met", "[SEP]", "oslo", "[SEP]"]
    assert row["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert "labels" not in row


def test_labels_are_ids_floats_or_numbers(tokenizer: Any) -> None:
    texts = (("ada",), ("oslo",))
    options: dict[str, Any] = {"max_length": 20}
    names = ["a", "b", "c"]
    single = encode(split(*texts, tags=[["c"], ["a"]]), tokenizer, names, SINGLE, **options)
    assert [row["labels"] for row in single.features] == [2, 0]
    multi = encode(split(*texts, tags=[["c", "a"], []]), tokenizer, names, MULTI, **options)
    assert [row["labels"] for row in multi.features] == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    numbers = encode(split(*texts, values=[1.5, 2.0]), tokenizer, ["score"], REGRESSION, **options)
    assert [row["labels"] for row in numbers.features] == [1.5, 2.0]


def test_what_is_cut_is_counted_and_said(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = encode(split(("ada met",), ("ada met the old friend",)), tokenizer, [], SINGLE, max_length=4)
    assert [len(row["input_ids"]) for row in found.features] == [4, 4]
    assert "1 of 2 examples are cut to 4 sub-tokens" in caplog.text


@pytest.mark.parametrize("labels", [[1, 0], [[1.0, 0.0], [0.0, 0.0]], [0.5, 1.5]])
def test_batches_keep_the_kind_of_label(tokenizer: Any, labels: list[Any]) -> None:
    features = encode(split(("ada",), ("ada met",)), tokenizer, [], SINGLE, max_length=20).features
    batch = collator(tokenizer)([{**row, "labels": label} for row, label in zip(features, labels, strict=True)])
    assert batch["labels"].tolist() == labels
    assert batch["input_ids"].shape == (2, 4)
    assert batch["labels"].is_floating_point() == (labels != [1, 0])
    assert collator(tokenizer, max_length=9)([dict(features[0])])["input_ids"].shape == (1, 9)
