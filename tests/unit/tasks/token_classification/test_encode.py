from __future__ import annotations

import logging
from typing import Any

import pytest

from sparsify.tasks.token_classification.columns import Sentences
from sparsify.tasks.token_classification.encode import collator, encode, entity_spans
from tests.helpers import ner

LABELS = ner.LABELS


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return ner.tokenizer()


def one(words: list[str], tags: list[str] | None) -> Sentences:
    return Sentences("data", [words], None if tags is None else [tags])


def test_the_label_sits_on_the_first_sub_token(tokenizer: Any) -> None:
    encoded = encode(one(["ada", "abc", "oslo"], ["B-per", "I-per", "B-loc"]), tokenizer, LABELS, max_length=20)
    # [CLS] ada a ##b ##c oslo [SEP]
    assert encoded.features[0]["labels"] == [-100, 3, 4, -100, -100, 1, -100]
    assert encoded.first_tokens == [[1, 2, 5]]
    assert set(encoded.features[0]) == {"input_ids", "token_type_ids", "attention_mask", "labels"}


def test_all_tokens_carry_the_label_as_inside(tokenizer: Any) -> None:
    encoded = encode(one(["abc", "xy"], ["B-per", "O"]), tokenizer, LABELS, max_length=20, all_tokens=True)
    assert encoded.features[0]["labels"] == [-100, 3, 4, 4, 0, 0, -100]


def test_entities_cut_off_are_counted_and_said(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    words = ["ada", "lovelace", "met", "alan", "turing", "in", "oslo"]
    tags = ["B-per", "I-per", "O", "B-per", "I-per", "O", "B-loc"]
    with caplog.at_level(logging.WARNING):
        encoded = encode(one(words, tags), tokenizer, LABELS, max_length=6)
    assert encoded.first_tokens == [[1, 2, 3, 4, -1, -1, -1]]
    assert "2 entities are cut off" in caplog.text
    assert "3 words of 1 sentences" in caplog.text


def test_words_that_become_nothing_are_left_out_and_said(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    encoded = encode(
        one(["ada", "\u200b", "met", "\u200d"], ["B-per", "O", "O", "O"]), tokenizer, LABELS, max_length=20
    )
    assert encoded.features[0]["labels"] == [-100, 3, 0, -100]
    assert encoded.first_tokens == [[1, -1, 2, -1]]
    assert "2 words become no sub-token" in caplog.text
    assert "cut off" not in caplog.text


def test_data_without_tags_has_no_labels(tokenizer: Any) -> None:
    assert "labels" not in encode(one(["ada"], None), tokenizer, LABELS, max_length=20).features[0]


def test_batches_are_padded_with_ignored_labels(tokenizer: Any) -> None:
    split = Sentences("data", [["ada"], ["ada", "met"]], [["B-per"], ["B-per", "O"]])
    features = encode(split, tokenizer, LABELS, max_length=20).features
    batch = collator(tokenizer)([dict(f) for f in features])
    assert batch["labels"].tolist() == [[-100, 3, -100, -100], [-100, 3, 0, -100]]
    assert batch["attention_mask"].sum().item() == 7
    assert collator(tokenizer, max_length=9)([dict(features[0])])["input_ids"].shape == (1, 9)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["B-a", "I-a", "O", "B-a", "B-a"], [(0, 2), (3, 4), (4, 5)]),
        (["I-a", "I-a", "I-b"], [(0, 2), (2, 3)]),
        (["O"], []),
        (["B-a", "O", "I-a"], [(0, 1), (2, 3)]),
    ],
)
def test_entity_spans(tags: list[str], spans: list[tuple[int, int]]) -> None:
    assert entity_spans(tags) == spans
