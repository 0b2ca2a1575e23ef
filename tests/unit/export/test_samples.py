"""Tests of sparsify.export.samples."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from sparsify.errors import InputError
from sparsify.export.samples import encode, generate, knows, made_up_texts, read_samples

NAMES = ("input_ids", "attention_mask", "token_type_ids")
ROWS = [{"tokens": ["ada", "met"], "ner_tags": ["O", "O"]}, {"tokens": ["paris"], "ner_tags": ["O"]}]
WORDS = [["ada", "met"], ["paris"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("a.json", json.dumps(ROWS)),
        ("a.csv", "tokens,ner_tags\n\"['ada', 'met']\",x\n\"['paris']\",x\n"),
        ("a.conll", "-DOCSTART- O\n\n# id 1\nada B\nmet O\n\n\nparis B\n"),
    ],
)
def test_formats(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert read_samples(tmp_path / name) == WORDS
    assert read_samples(tmp_path / f"{name}.gz") == WORDS
    assert read_samples(tmp_path / name, limit=1) == WORDS[:1]
    with pytest.raises(InputError, match="max_samples must be at least 1, got -1"):
        read_samples(tmp_path / name, limit=-1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, r"absent\.txt: no such file"),
        ("a.txt.gz", b"no gzip", "cannot be read as samples"),
        ("b.txt.gz", gzip.compress(b"some text" * 99)[:20] + b"xx" * 9, "cannot be read as samples"),
        ("c.csv", b"a,b\n1,2\n", "has no column of tokens, words, text, .* It has: a, b"),
    ],
)
def test_files_that_are_none(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / name)


PAIR = {"question": "who met", "sentence": "ada met", "label": 1}


def test_pairs_of_columns_are_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(PAIR))
    assert read_samples(tmp_path / "a.jsonl") == [("who met", "ada met")]
    assert read_samples(tmp_path / "a.jsonl", column="sentence, question") == [("ada met", "who met")]
    assert read_samples(tmp_path / "a.jsonl", column="sentence") == ["ada met"]
    with pytest.raises(InputError, match=r"has no column 'sentense'.* Did you mean 'sentence'"):
        read_samples(tmp_path / "a.jsonl", column="question,sentense")


def test_pairs_are_two_segments_beside_single_texts_too(tiny_tokenizer) -> None:
    (batch,) = encode([("ada met", "paris"), "london"], tiny_tokenizer, NAMES, max_length=20, shape=(2, 8))
    # [CLS] ada met [SEP] paris [SEP]
    assert batch.inputs["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert batch.real.sum(1).tolist() == [6, 4]


def test_plain_text_is_one_sample_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada met.\n\n Paris \n")
    assert read_samples(tmp_path / "a.txt") == ["Ada met.", "Paris"]


def test_line_separators_inside_json_strings(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b"}\n', encoding="utf-8")
    assert read_samples(tmp_path / "a.jsonl") == ["a\u2028b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "holds no samples"),
        ("a.jsonl", "{", "not valid JSON"),
        ("a.jsonl", "[1]", "must be an object"),
        ("a.jsonl", '{"wrong": 1}', "It has: wrong"),
        ("a.txt", "\n", "holds no samples"),
        ("a.jsonl.gz", "not gzipped", "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / name)


def test_a_missing_file_and_a_misspelt_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        read_samples(tmp_path / "nowhere.txt")
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0]))
    with pytest.raises(InputError, match=r"'token'.*Did you mean 'tokens'"):
        read_samples(tmp_path / "a.jsonl", column="token")


def test_encoding_pads_inside_batches_and_counts_first_pieces(tiny_tokenizer) -> None:
    batches = encode([["rivers", "met"], ["ada"]], tiny_tokenizer, NAMES, max_length=32)
    assert {batch.real.shape[0] for batch in batches} == {1, 2, 3, 8}
    two = next(batch for batch in batches if batch.real.shape[0] == 2)
    order = two.real.sum(1).argsort()[::-1]
    assert two.real[order].tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    # [CLS] river ##s met [SEP]: the second piece and the special tokens do not count
    assert two.counted[order].tolist() == [[False, True, False, True, False], [False, True, False, False, False]]
    assert set(two.inputs) == set(NAMES)
    assert all(value.dtype == np.int64 for value in two.inputs.values())


def test_encoding_takes_texts_and_word_lists_together(tiny_tokenizer) -> None:
    batches = encode(["ada met", ["ada", "met"]], tiny_tokenizer, NAMES, max_length=32)
    assert sum(int(batch.counted.sum()) for batch in batches) > 0


def test_encoding_to_a_fixed_shape(tiny_tokenizer) -> None:
    batches = encode(["ada"] * 3, tiny_tokenizer, NAMES, max_length=32, shape=(2, 8))
    assert [batch.real.shape for batch in batches] == [(2, 8), (2, 8)]


def test_encoding_cuts_at_the_limit(tiny_tokenizer) -> None:
    batch = encode(["a b c d e f g h"], tiny_tokenizer, NAMES, max_length=5)[0]
    assert batch.real.shape == (1, 5)


def test_generated_batches(tiny_tokenizer) -> None:
    batches = generate(NAMES, 25, max_length=20, tokenizer=tiny_tokenizer, pad_id=0)
    assert sum(len(batch.real) for batch in batches) >= 48
    assert len({batch.real.shape for batch in batches}) >= 4
    assert any((~batch.real).any() for batch in batches)
    for batch in batches:
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert ids.max() < 25
        assert (mask == batch.real).all()
        assert (ids[~batch.real] == 0).all()
        assert (ids[:, 0] == tiny_tokenizer.cls_token_id).all()
        assert not np.isin(ids[batch.counted], tiny_tokenizer.all_special_ids).any()
    again = generate(NAMES, 25, max_length=20, tokenizer=tiny_tokenizer, pad_id=0)
    assert all((a.inputs["input_ids"] == b.inputs["input_ids"]).all() for a, b in zip(batches, again, strict=True))


def test_generated_batches_of_a_fixed_shape_without_tokenizer() -> None:
    batches = generate(("input_ids",), 10, max_length=64, shape=(4, 6), sequences=5)
    assert [batch.real.shape for batch in batches] == [(4, 6), (4, 6)]
    assert all(list(batch.inputs) == ["input_ids"] for batch in batches)


def test_made_up_texts() -> None:
    texts = made_up_texts(40)
    assert texts == made_up_texts(40)
    assert texts != made_up_texts(40, seed=1)
    lengths = [len(str(text).split()) for text in texts]
    assert max(lengths) > 3 * min(lengths)


def test_texts_in_words_that_a_tokenizer_lacks_are_told(tiny_tokenizer) -> None:
    assert not knows(tiny_tokenizer, made_up_texts(4))
    assert knows(tiny_tokenizer, ["Ada met Charles in London."])
