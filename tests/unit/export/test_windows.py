"""Tests of sparsify.export.windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsify.export.windows import room, usual_stride, windows
from tests.helpers import ner

WORDS = ["ada", "lovelace", "met", "charles", "babbage", "in", "london", "paris"]


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer: Any) -> Any:
    return tiny_tokenizer.backend_tokenizer


def test_a_pair_that_fits_is_one_window_with_the_contexts_characters(tokenizer: Any) -> None:
    (window,) = windows(tokenizer, [("ada met", "in london")], max_length=16, stride=4)
    # [CLS] ada met [SEP] in london [SEP]
    assert window.type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert window.offsets.tolist() == [[-1, -1]] * 4 + [[0, 2], [3, 9], [-1, -1]]


def test_windows_hold_the_question_and_share_the_stride(tokenizer: Any) -> None:
    context = " ".join(WORDS)
    found = list(windows(tokenizer, [("ada", context)], max_length=8, stride=2))
    # room for 4 tokens of the context, 2 of them new in each further window
    texts = [[context[a:b] for a, b in w.offsets.tolist() if a >= 0] for w in found]
    assert texts == [WORDS[0:4], WORDS[2:6], WORDS[4:8]]
    assert all(w.ids[:3] == found[0].ids[:3] for w in found)
    assert all(len(w.ids) <= 8 for w in found)


def test_they_are_those_of_transformers(tiny_tokenizer: Any) -> None:
    pairs = [("ada met", " ".join(WORDS * 2)), ("in london", "paris"), ("babbage", " ".join(WORDS))]
    theirs = tiny_tokenizer(
        *map(list, zip(*pairs, strict=True)),
        truncation="only_second",
        max_length=12,
        stride=3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    ours = list(windows(tiny_tokenizer.backend_tokenizer, pairs, max_length=12, stride=3))
    assert [w.ids for w in ours] == theirs["input_ids"]
    assert [w.type_ids for w in ours] == theirs["token_type_ids"]
    assert [w.pair for w in ours] == theirs["overflow_to_sample_mapping"]
    for index, window in enumerate(ours):
        context = [part == 1 for part in theirs.sequence_ids(index)]
        assert (window.offsets[:, 0] >= 0).tolist() == context
        offsets = [pair for pair, mine in zip(theirs["offset_mapping"][index], context, strict=True) if mine]
        assert [tuple(o) for o in window.offsets[context].tolist()] == offsets


def test_the_tokenizer_is_left_as_it_was(tokenizer: Any) -> None:
    before = tokenizer.to_str()
    list(windows(tokenizer, [("ada", " ".join(WORDS))], max_length=8, stride=2))
    assert tokenizer.to_str() == before


def test_a_long_first_text_is_cut_to_half_of_a_window(tokenizer: Any) -> None:
    found = list(windows(tokenizer, [(" ".join(WORDS), " ".join(WORDS))], max_length=11, stride=3))
    assert all(window.type_ids.count(0) == 2 + 4 for window in found)
    seen = {tuple(o) for w in found for o in w.offsets.tolist() if o[0] >= 0}
    assert len(seen) == len(WORDS)


@settings(max_examples=60)
@given(
    question=st.lists(st.sampled_from(WORDS), max_size=12),
    context=st.lists(st.sampled_from(WORDS), max_size=40),
    length=st.integers(8, 24),
    stride=st.integers(0, 30),
)
def test_every_token_of_the_context_is_seen_whatever_the_sizes(
    question: list[str], context: list[str], length: int, stride: int
) -> None:
    text = " ".join(context)
    found = list(
        windows(ner.tokenizer().backend_tokenizer, [(" ".join(question), text)], max_length=length, stride=stride)
    )
    whole = ner.tokenizer().backend_tokenizer.encode(text, add_special_tokens=False).offsets
    assert {tuple(o) for w in found for o in w.offsets.tolist() if o[0] >= 0} == set(whole)
    assert all(len(w.ids) <= length and np.all(np.diff(w.offsets[w.offsets[:, 0] >= 0, 0]) >= 0) for w in found)


def test_room_and_stride(tokenizer: Any) -> None:
    assert room(tokenizer, 16) == 13
    assert [usual_stride(n) for n in (12, 192, 384, 512)] == [4, 64, 128, 128]
