from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.tasks.demo_corpus import LABELS, SPLITS, TYPES, Sentence, sentences, write_corpus, write_model


def made(split: str, count: int = 600, seed: int = 0) -> list[Sentence]:
    return list(sentences(split, count, seed))


def entities(found: list[Sentence]) -> set[tuple[str, str]]:
    """(type, words) of every entity."""
    names: set[tuple[str, str]] = set()
    for sentence in found:
        for i, tag in enumerate(sentence.ner_tags):
            if tag.startswith("B-"):
                end = i + 1
                while end < len(sentence.tokens) and sentence.ner_tags[end].startswith("I-"):
                    end += 1
                names.add((tag[2:], " ".join(sentence.tokens[i:end]).lower()))
    return names


def test_same_seed_same_sentences() -> None:
    assert made("train") == made("train")
    assert made("train") != made("train", seed=1)
    assert made("train") != made("validation")
    assert made("train", 10) == made("train", 20)[:10]


@pytest.mark.parametrize("split", list(SPLITS))
def test_tags_are_valid_bio(split: str) -> None:
    for sentence in made(split):
        assert len(sentence.tokens) == len(sentence.ner_tags) > 0
        assert all(token and " " not in token for token in sentence.tokens)
        for before, tag in zip(["O", *sentence.ner_tags], sentence.ner_tags, strict=False):
            assert tag in LABELS
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_every_type_and_sentences_without_any() -> None:
    found = made("train")
    assert {kind for kind, _ in entities(found)} == set(TYPES)
    assert any(set(s.ner_tags) == {"O"} for s in found)


def test_words_are_ambiguous() -> None:
    tags_of: dict[str, set[str]] = {}
    for sentence in made("train", 2000):
        for token, tag in zip(sentence.tokens, sentence.ner_tags, strict=True):
            tags_of.setdefault(token.lower(), set()).add(tag[2:])
    assert {"PERSON", "LOCATION"} <= tags_of["jordan"]
    assert {"ORGANISATION", ""} <= tags_of["apple"]
    assert {"ORGANISATION", "PRODUCT", ""} <= tags_of["galaxy"]


def test_much_of_test_was_never_seen() -> None:
    known, test = entities(made("train", SPLITS["train"])), entities(made("test", SPLITS["test"]))
    assert 0.3 < len(test - known) / len(test) < 0.9
    assert known & test


def test_some_sentences_lost_their_capitals() -> None:
    lower = sum(all(t == t.lower() for t in s.tokens) for s in made("train"))
    assert 30 < lower < 130


def test_files(tmp_path: Path) -> None:
    files = write_corpus(tmp_path / "a")
    assert {split: len(path.read_text().splitlines()) for split, path in files.items()} == SPLITS
    row = json.loads(files["test"].read_text().splitlines()[0])
    assert row == {"tokens": (first := next(sentences("test", 1))).tokens, "ner_tags": first.ner_tags}
    again = write_corpus(tmp_path / "b")
    assert all(again[split].read_bytes() == path.read_bytes() for split, path in files.items())


def test_model_folder_loads_and_reads_what_it_was_made_from(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    train = write_corpus(tmp_path)["train"]
    folder = write_model(tmp_path / "model", train, hidden=32, layers=1)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForTokenClassification.from_pretrained(folder)
    encoded = tokenizer(["Anna", "met", "apple", "Qqzx"], is_split_into_words=True, return_tensors="pt")
    assert encoded.word_ids()[:2] == [None, 0]
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])[:2] == ["[CLS]", "Anna"]
    assert tokenizer.decode(encoded["input_ids"][0]).startswith("[CLS] Anna met apple")
    assert model(**encoded).logits.shape == (1, encoded["input_ids"].shape[1], len(LABELS))
    assert [model.config.id2label[i] for i in range(len(LABELS))] == list(LABELS)
    again = AutoModelForTokenClassification.from_pretrained(write_model(tmp_path / "b", train, hidden=32, layers=1))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
