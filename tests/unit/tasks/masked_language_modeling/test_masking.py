from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sparsify.distillation.losses import IGNORED
from sparsify.errors import InputError
from sparsify.tasks.masked_language_modeling.masking import MaskedExamples, Masking
from tests.helpers import ner

TOKENIZER = ner.tokenizer()
MASKING = Masking.of(TOKENIZER, 0.15)
CLS, SEP, MASK = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id, TOKENIZER.mask_token_id


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=80), st.floats(0.01, 1.0), st.integers(0, 2**40))
def test_labels_hold_what_was_hidden_and_special_tokens_stay(ids: list[int], probability: float, seed: int) -> None:
    masking = Masking(probability, MASKING.mask, MASKING.special, MASKING.words)
    shown, labels = masking.hide(ids, seed, 3, 1)
    assert len(shown) == len(labels) == len(ids)
    words = [i for i, token in enumerate(ids) if token not in MASKING.special]
    hidden = [i for i, label in enumerate(labels) if label != IGNORED]
    assert len(hidden) == (max(1, round(len(words) * probability)) if words else 0)
    assert set(hidden) <= set(words)
    assert all(labels[i] == ids[i] for i in hidden)
    assert all(shown[i] == ids[i] for i in range(len(ids)) if i not in hidden)
    assert all(shown[i] == MASK or shown[i] not in MASKING.special for i in hidden)


def test_eight_of_ten_become_the_mask_one_another_word_one_stays() -> None:
    masking = Masking(1.0, MASKING.mask, MASKING.special, MASKING.words)
    ids = [int(MASKING.words[0])] * 5000
    shown, _ = masking.hide(ids, 1, 2, 3)
    counts = [shown.count(MASK), shown.count(ids[0])]
    assert np.array(counts) / 5000 == pytest.approx([0.8, 0.1 + 0.1 / len(MASKING.words)], abs=0.02)
    assert len(set(shown)) == len(MASKING.words) + 1


def test_the_choice_is_a_function_of_its_key() -> None:
    ids = list(map(int, MASKING.words)) * 4
    one = MASKING.hide(ids, 7, 0, 5)
    assert MASKING.hide(ids, 7, 0, 5) == one
    assert all(MASKING.hide(ids, *key) != one for key in ((8, 0, 5), (7, 1, 5), (7, 0, 6)))


def test_a_tokenizer_without_mask_is_refused() -> None:
    tokenizer: Any = ner.tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        Masking.of(tokenizer, 0.15)


def data(count: int = 12) -> MaskedExamples:
    ids = [[CLS, *map(int, MASKING.words[i : i + 9]), SEP] for i in range(count)]
    features = [{"input_ids": [0] * 11, "attention_mask": [1] * 11, "labels": [IGNORED] * 11} for _ in ids]
    return MaskedExamples(features, ids, MASKING, seed=3)


def test_examples_change_with_the_epoch_and_with_nothing_else() -> None:
    first, second = data(), data()
    torch.manual_seed(99)
    assert [first[i] for i in range(12)] == [second[11 - i] for i in range(12)][::-1]
    before = [first[i]["labels"] for i in range(12)]
    first.set_epoch(1)
    assert [first[i]["labels"] for i in range(12)] != before
    first.set_epoch(0)
    assert [first[i]["labels"] for i in range(12)] == before
    assert first[0]["attention_mask"] == [1] * 11


def test_workers_of_a_loader_see_the_epoch() -> None:
    examples = data()
    loader: Any = DataLoader(examples, batch_size=None, num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    for epoch in (0, 4):
        examples.set_epoch(epoch)
        assert [row["labels"] for row in loader] == [examples[i]["labels"] for i in range(12)]
