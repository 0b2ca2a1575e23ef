"""What transformers says of a folder that is no model, as one message."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import transformers

from sparsify.errors import InputError
from sparsify.export.pretrained import FAILURES, architecture_of, model_class, read_pretrained_config

BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "3", "[" * 100_000, "\udcff"),
        *({}, {"model_type": 3}, {"model_type": "nix"}),
        *(BERT | {"hidden_size": "abc"}, BERT | {"id2label": ["a"]}, BERT | {"id2label": {"a": "b"}}),
    ],
)
def test_a_config_that_is_none_is_told(content: Any, tmp_path: Path) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"^{tmp_path}: cannot read config\.json \(\w+Error: .+\)$"):
        read_pretrained_config(tmp_path)


def test_a_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BERT | {"hidden_size": 48}))
    found = read_pretrained_config(tmp_path)
    assert isinstance(found, transformers.BertConfig)
    assert found.hidden_size == 48


def test_an_interrupt_is_no_failure() -> None:
    assert not issubclass(KeyboardInterrupt, FAILURES)


@pytest.mark.parametrize(
    ("named", "found"),
    [(["A", "B"], "A"), (("A",), "A"), ([], None), (None, None), ("Alone", "Alone"), ([3], 3), ({"A": 1}, {"A": 1})],
)
def test_the_first_architecture(named: object, found: object) -> None:
    assert architecture_of(SimpleNamespace(architectures=named)) == found


def test_classes_of_models() -> None:
    assert model_class("BertForMaskedLM", "here") is transformers.BertForMaskedLM


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "^here names no architecture"),
        (
            "BertForTokenClasification",
            "'BertForTokenClasification', which is .*; did it mean BertForTokenClassification",
        ),
        ("AutoModel", r"'AutoModel', which is no model that transformers \d"),
        ("BertConfig", "'BertConfig', which is no model"),
        ("pipeline", "'pipeline', which is no model"),
        ("logging", "'logging', which is no model"),
        (3, r"names the architecture 3, which is no model that transformers \S+ has$"),
        ({"A": 1}, "which is no model"),
    ],
)
def test_what_is_no_class_of_models(name: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model_class(name, "here")


def test_a_class_that_lacks_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise ModuleNotFoundError("No module named 'timm'")

    monkeypatch.setitem(sys.modules, "transformers", Lacking("transformers"))
    with pytest.raises(InputError, match="cannot be used here"):
        model_class("BertForMaskedLM", "here")
