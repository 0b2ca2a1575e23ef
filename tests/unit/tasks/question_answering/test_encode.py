from __future__ import annotations

import logging
from typing import Any

import pytest
from transformers import AutoTokenizer

from sparsify.errors import InputError
from sparsify.export.windows import room
from sparsify.tasks.question_answering.answers import Answer
from sparsify.tasks.question_answering.columns import Questions
from sparsify.tasks.question_answering.encode import EncodedWindows, encode, stride_of
from tests.helpers import ner

CONTEXT = "the old friend met ada lovelace in new york ."
TOKENIZER = ner.tokenizer()


def split(*answers: list[Answer] | None, context: str = CONTEXT) -> Questions:
    count = len(answers)
    given = None if None in answers else [list(a or ()) for a in answers]
    return Questions("train", [1] * count, [str(i) for i in range(count)], ["near"] * count, [context] * count, given)


def labelled(encoded: EncodedWindows, context: str = CONTEXT) -> list[str | None]:
    """The text that each window's labels mark; None for the first token."""
    found: list[str | None] = []
    for row, offsets in zip(encoded.features, encoded.offsets, strict=True):
        first, last, length = row["labels"]
        assert length == len(row["input_ids"])
        found.append(None if first == last == 0 else context[offsets[first][0] : offsets[last][1]])
    return found


def test_labels_mark_the_answer() -> None:
    for text in ("ada lovelace", "the", ".", "new york", CONTEXT):
        encoded = encode(split([Answer(text, CONTEXT.index(text))]), TOKENIZER, max_length=24)
        assert labelled(encoded) == [text]
        assert set(encoded.features[0]) == {"input_ids", "token_type_ids", "attention_mask", "labels"}


def test_an_answer_inside_a_word_marks_the_whole_word() -> None:
    assert labelled(encode(split([Answer("love", CONTEXT.index("love"))]), TOKENIZER, max_length=24)) == ["lovelace"]


def test_only_windows_that_hold_the_whole_answer_are_labelled_with_it() -> None:
    # windows of 5 tokens of the context, 2 of them shared
    encoded = encode(split([Answer("ada lovelace", 19)]), TOKENIZER, max_length=9, stride=2)
    assert encoded.questions == [0] * len(encoded)
    texts = [[CONTEXT[a:b] for a, b in offsets.tolist() if a >= 0] for offsets in encoded.offsets]
    whole = [{"ada", "lovelace"} <= set(words) for words in texts]
    assert labelled(encoded) == ["ada lovelace" if held else None for held in whole]
    assert any(whole)
    assert not all(whole)


def test_no_answer_is_the_first_token_and_a_lost_one_does_not_count() -> None:
    encoded = encode(split([], [Answer("eve", 3)]), TOKENIZER, max_length=24)
    assert [row["labels"] for row in encoded.features] == [[0, 0, 14], [-100, -100, -100]]


def test_without_answers_there_are_no_labels() -> None:
    assert "labels" not in encode(split(None), TOKENIZER, max_length=24).features[0]


def test_many_windows_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        encoded = encode(split([], []), TOKENIZER, max_length=9)
    assert f"2 questions are read in {len(encoded)} windows" in caplog.text
    assert encoded.questions == sorted(encoded.questions)


@pytest.mark.parametrize(("asked", "used"), [(None, 8), (0, 0), (20, 20)])
def test_the_stride(asked: int | None, used: int) -> None:
    assert stride_of(asked, TOKENIZER.backend_tokenizer, 24) == used


@pytest.mark.parametrize(
    ("asked", "length", "told"),
    [
        (21, 24, "--doc_stride 21: windows of --max_seq_length 24 share from 0 to 20 sub-tokens; 8 is usual"),
        (-1, 24, "--doc_stride -1"),
        (None, 6, "--max_seq_length 6 leaves no room for a question and its context; 384 is usual, and at least 7"),
    ],
)
def test_strides_that_would_not_move(asked: int | None, length: int, told: str) -> None:
    assert room(TOKENIZER.backend_tokenizer, 24) == 21
    with pytest.raises(InputError, match=told):
        stride_of(asked, TOKENIZER.backend_tokenizer, length)


def test_byte_level_offsets_leave_blanks_out(tmp_path: Any) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate(["<s>", "</s>", "<unk>", *letters])}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True)
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>").save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    encoded = encode(split([Answer("ada lovelace", 19)]), tokenizer, max_length=80)
    assert [text and text.strip() for text in labelled(encoded)] == ["ada lovelace"]
