"""Tests of sparsify.export.predict."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sparsify.errors import InputError
from sparsify.export.deployment import export_onnx
from sparsify.export.predict import TokenClassifier

TEXT = "Ada Lovelace met Charles Babbage, rivers in Paris."


@pytest.fixture(scope="module")
def classifier(tiny_deployment: Path) -> TokenClassifier:
    return TokenClassifier(tiny_deployment)


@pytest.fixture
def copied(tiny_deployment: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_deployment, tmp_path / "deployment"))


def test_tags_are_those_of_torch(classifier: TokenClassifier, tiny_ner_dir: Path, tiny_tokenizer: Any) -> None:
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(tiny_ner_dir).eval()
    encoded = tiny_tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        best = model(**encoded).logits[0].softmax(-1).max(-1)
    ids = encoded.word_ids(0)
    firsts = [i for i, word in enumerate(ids) if word is not None and word != ids[i - 1]]
    words = classifier.words([TEXT])[0]
    assert [word.tag for word in words] == [classifier.labels[best.indices[i]] for i in firsts]
    assert [word.score for word in words] == pytest.approx([float(best.values[i]) for i in firsts], abs=1e-5)


def test_words_stand_where_they_stand_in_the_text(classifier: TokenClassifier) -> None:
    found = [TEXT[word.start : word.end] for word in classifier.words([TEXT])[0]]
    assert found == ["Ada", "Lovelace", "met", "Charles", "Babbage", ",", "rivers", "in", "Paris", "."]
    for entity in classifier(TEXT):
        assert TEXT[entity.start : entity.end] == entity.text
        assert 0 < entity.score <= 1


def test_one_text_or_several(classifier: TokenClassifier) -> None:
    one = classifier(TEXT)
    assert isinstance(one, list)
    several = classifier([TEXT, "", "in"])
    assert len(several) == 3
    assert [(e.text, e.label) for e in several[0]] == [(e.text, e.label) for e in one]
    assert several[1] == []
    assert classifier([]) == []
    assert classifier("") == []


def test_words_given_as_a_list(classifier: TokenClassifier) -> None:
    words = TEXT.replace(",", " ,").replace(".", " .").split()
    found = classifier.words([words])[0]
    assert [" ".join(words)[word.start : word.end] for word in found] == words
    assert [word.tag for word in found] == [word.tag for word in classifier.words([" ".join(words)])[0]]


def test_long_texts_are_read_to_their_end(classifier: TokenClassifier) -> None:
    text = " ".join(["ada met charles in london"] * 40)
    words = classifier.words([text])[0]
    assert [text[word.start : word.end] for word in words] == text.split()
    assert classifier.max_length == 32


def test_each_word_of_a_long_text_is_taken_where_it_has_most_context(tiny_deployment: Path) -> None:
    classifier = TokenClassifier(tiny_deployment, stride=20)
    text = " ".join(f"{a} {b}" for a in "abcdefgh" for b in "hgfedcba")
    windows = list(classifier._windows(0, text))
    assert len(windows) > 3
    chosen: dict[int, int] = {}
    for number, window in enumerate(windows):
        for place, word in enumerate(window.word_ids):
            context = min(place, len(window.ids) - place)
            best = windows[chosen[word]].word_ids.index(word) if word in chosen else None
            if word is not None and (best is None or context > min(best, len(windows[chosen[word]].ids) - best)):
                chosen[word] = number
    tags = {}
    for number, window in enumerate(windows):
        for index, _, word in classifier._read(window, classifier._run([window])[0]):
            if chosen[index] == number:
                tags[index] = word.tag
    assert [word.tag for word in classifier.words([text])[0]] == [tags[i] for i in sorted(tags)]


def test_batches_do_not_change_the_result(tiny_deployment: Path) -> None:
    texts = ["ada", TEXT, "in london", "a b c d e f g h"]
    tags = [
        [[word.tag for word in words] for words in TokenClassifier(tiny_deployment, batch_size=size).words(texts)]
        for size in (1, 8)
    ]
    assert tags[0] == tags[1]


def test_a_deployment_of_a_fixed_shape(make_tiny_bert, tiny_tokenizer, tmp_path: Path) -> None:
    model = make_tiny_bert(num_hidden_layers=1)
    fixed = export_onnx(model, tmp_path / "fixed", tokenizer=tiny_tokenizer, shapes=(2, 16), verify=False).deployment
    classifier = TokenClassifier(fixed)
    assert classifier.max_length == 16
    words = classifier.words([TEXT, "in", " ".join(["ada"] * 50)])
    assert [len(found) for found in words] == [10, 1, 50]


def test_int8_too(tiny_int8_deployment: Path) -> None:
    assert len(TokenClassifier(tiny_int8_deployment).words([TEXT])[0]) == 10


def test_it_needs_neither_torch_nor_transformers(tiny_deployment: Path) -> None:
    code = (
        "import sys; from sparsify.export.predict import TokenClassifier;"
        f"TokenClassifier({str(tiny_deployment)!r})('ada');"
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class TestBadInput:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such deployment folder"):
            TokenClassifier(tmp_path / "nowhere")

    def test_no_graph(self, copied: Path) -> None:
        (copied / "model.onnx").unlink()
        with pytest.raises(InputError, match=r"holds no model\.onnx: it is a model that is not exported yet"):
            TokenClassifier(copied)

    def test_no_tokenizer(self, copied: Path) -> None:
        (copied / "tokenizer.json").unlink()
        with pytest.raises(InputError, match=r"tokenizer\.json: no such file"):
            TokenClassifier(copied)

    def test_a_broken_tokenizer(self, copied: Path) -> None:
        (copied / "tokenizer.json").write_text("{}")
        with pytest.raises(InputError, match="is no tokenizer"):
            TokenClassifier(copied)

    def test_another_task(self, copied: Path) -> None:
        import onnx

        graph = onnx.load(copied / "model.onnx")
        next(p for p in graph.metadata_props if p.key == "task").value = "question_answering"
        onnx.save(graph, copied / "model.onnx")
        with pytest.raises(InputError, match="is a question_answering model"):
            TokenClassifier(copied)

    def test_a_stride_without_room(self, copied: Path) -> None:
        with pytest.raises(InputError, match="from 0 to 29"):
            TokenClassifier(copied, stride=30)

    def test_labels_come_from_the_config_where_the_file_has_none(self, copied: Path) -> None:
        import onnx

        graph = onnx.load(copied / "model.onnx")
        del graph.metadata_props[:]
        onnx.save(graph, copied / "model.onnx")
        assert TokenClassifier(copied).labels[1] == "B-person"
        config = json.loads((copied / "config.json").read_text())
        del config["id2label"]
        (copied / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match="names no labels"):
            TokenClassifier(copied)
