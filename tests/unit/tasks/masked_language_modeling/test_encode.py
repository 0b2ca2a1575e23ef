from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import InputError
from sparsify.tasks.masked_language_modeling.columns import Texts
from sparsify.tasks.masked_language_modeling.encode import EncodedBlocks, encode
from sparsify.tasks.masked_language_modeling.masking import Masking
from tests.helpers import ner

TOKENIZER = ner.tokenizer()
MASKING = Masking.of(TOKENIZER, 0.15)
CLS, SEP = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id


def blocks(*texts: str, length: int = 8, **options: bool) -> EncodedBlocks:
    return encode(Texts("train.txt", list(texts)), TOKENIZER, MASKING, max_length=length, **options)


def words(ids: list[int]) -> str:
    return " ".join(TOKENIZER.convert_ids_to_tokens(ids))


def test_texts_in_a_row_fill_the_blocks() -> None:
    found = blocks("ada lovelace met", "the old friend in london", length=8)
    assert [words(ids) for ids in found.ids] == [
        "[CLS] ada lovelace met [SEP] the old [SEP]",
        "[CLS] friend in london [SEP]",
    ]
    assert [len(row["input_ids"]) for row in found.features] == [8, 5]
    assert all(set(row) == {"input_ids", "token_type_ids", "attention_mask", "labels"} for row in found.features)


def test_line_by_line_each_text_is_one_and_long_ones_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = blocks("ada met", "the old friend in london", length=6, line_by_line=True)
    assert [words(ids) for ids in found.ids] == ["[CLS] ada met [SEP]", "[CLS] the old friend in [SEP]"]
    assert "train.txt: 1 of 2 texts are cut to 6 sub-tokens" in caplog.text


@given(st.lists(st.lists(st.sampled_from(ner.words()), min_size=1, max_size=20), min_size=1, max_size=6))
def test_no_token_is_lost_in_blocks(texts: list[list[str]]) -> None:
    found = blocks(*(" ".join(text) for text in texts), length=7)
    inner = [token for ids in found.ids for token in ids[1:-1]]
    whole = [t for text in texts for t in [*TOKENIZER.convert_tokens_to_ids(text), SEP]]
    assert inner in (whole, whole[:-1])
    assert all(ids[0] == CLS and ids[-1] == SEP for ids in found.ids)
    assert all(len(ids) == 7 for ids in found.ids[:-1])


def test_the_masks_are_fixed() -> None:
    texts = ["ada lovelace met the old friend in london"] * 4
    assert blocks(*texts).features == blocks(*texts).features
    assert len({tuple(row["labels"]) for row in blocks(*texts, length=12, line_by_line=True).features}) > 1


@pytest.mark.parametrize("line_by_line", [False, True])
def test_texts_without_tokens_are_told(line_by_line: bool) -> None:
    with pytest.raises(InputError, match=r"train.txt: its texts become no token"):
        blocks("\u200b", line_by_line=line_by_line)
