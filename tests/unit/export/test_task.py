"""Tests of sparsify.export.task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sparsify.errors import InputError
from sparsify.export.task import TASKS, input_names, max_length, resolve_task, task_by_name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ner", "token_classification"),
        ("token-classification", "token_classification"),
        ("glue", "text_classification"),
        ("Sequence Classification", "text_classification"),
        ("sentiment-analysis", "text_classification"),
        ("text-classification", "text_classification"),
        ("qa", "question_answering"),
        ("question-answering", "question_answering"),
        ("mlm", "masked_language_modeling"),
        ("masked-language-modeling", "masked_language_modeling"),
    ],
)
def test_every_spelling_of_the_field_is_known(spelling: str, name: str) -> None:
    assert task_by_name(spelling).name == name


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"token_classifcation.*Did you mean token_classification"):
        task_by_name("token_classifcation")


def test_the_checkpoint_decides() -> None:
    task, warning = resolve_task(["BertForTokenClassification"], "text_classification")
    assert task.name == "token_classification"
    assert warning is not None
    assert "text_classification" in warning
    assert "\n" not in warning
    assert resolve_task(["BertForTokenClassification"], "ner") == (task, None)
    assert resolve_task(["DistilBertForQuestionAnswering"], None)[0].outputs == ("start_logits", "end_logits")


def test_strict_makes_the_contradiction_an_error() -> None:
    with pytest.raises(InputError, match="Pass --task token_classification"):
        resolve_task(["BertForTokenClassification"], "qa", strict=True)


@pytest.mark.parametrize("architectures", [None, [], ["BertModel"]])
def test_a_model_without_head_is_refused(architectures: list[str] | None) -> None:
    with pytest.raises(InputError, match="a head is needed"):
        resolve_task(architectures, "ner")


def test_tasks_are_told_apart_by_suffix() -> None:
    suffixes = [task.suffix for task in TASKS]
    assert len(set(suffixes)) == len(suffixes)
    assert not any(a != b and a.endswith(b) for a in suffixes for b in suffixes)


def test_inputs_are_what_tokenizer_and_model_share(make_tiny_bert, tiny_tokenizer) -> None:
    assert input_names(make_tiny_bert(), tiny_tokenizer) == ["input_ids", "attention_mask", "token_type_ids"]
    assert input_names(make_tiny_bert()) == ["input_ids", "attention_mask"]
    untyped = make_tiny_bert()
    untyped.config.type_vocab_size = 0
    assert input_names(untyped, tiny_tokenizer) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("model_type", "positions", "stated", "limit"),
    [
        ("bert", 512, None, 512),
        ("bert", 512, 128, 128),
        ("bert", 512, int(1e30), 512),
        ("roberta", 514, None, 512),
        ("deberta-v2", None, None, 512),
        ("deberta-v2", None, 1024, 512),
    ],
)
def test_longest_input(model_type: str, positions: int | None, stated: int | None, limit: int) -> None:
    config = SimpleNamespace(model_type=model_type, max_position_embeddings=positions, pad_token_id=1)
    assert max_length(config, SimpleNamespace(model_max_length=stated)) == limit
