"""Tests of sparsify.export.answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparsify.errors import InputError
from sparsify.export.answer import QuestionAnswerer, rules_of
from sparsify.export.deployed import Deployment
from sparsify.export.spans import SpanRules, answer
from sparsify.export.windows import windows

PAIRS = [
    (
        "who met",
        "ada lovelace met charles babbage in london . paris , london , paris . ada met charles babbage . london",
    ),
    (" in london ", "ada ."),
    ("met", ""),
]


def test_answers_are_those_of_torch_in_the_order_of_the_questions(
    tiny_qa_deployment: Path, tiny_qa_dir: Path, tiny_tokenizer: Any
) -> None:
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_pretrained(tiny_qa_dir).eval()
    answerer = QuestionAnswerer(tiny_qa_deployment, n_best=3, stride=5)
    assert answerer.rules == SpanRules(3, 4, True, -1.5)
    for (question, context), found in zip(PAIRS, answerer(PAIRS), strict=True):
        asked = [(question.strip(), context)]
        parts = list(windows(tiny_tokenizer.backend_tokenizer, asked, max_length=32, stride=5))
        starts, ends = [], []
        for part in parts:
            with torch.no_grad():
                said = model(torch.tensor([part.ids]), token_type_ids=torch.tensor([part.type_ids]))
            starts.append(said.start_logits[0].numpy())
            ends.append(said.end_logits[0].numpy())
        theirs = answer(context, [part.offsets for part in parts], starts, ends, answerer.rules)
        assert found.text == theirs.text
        assert [one.text for one in found.candidates] == [one.text for one in theirs.candidates]
        assert [one.score for one in found.candidates] == pytest.approx([c.score for c in theirs.candidates], abs=1e-4)


def test_the_batch_changes_nothing(tiny_qa_deployment: Path) -> None:
    alone = QuestionAnswerer(tiny_qa_deployment, batch_size=1)(PAIRS)
    together = QuestionAnswerer(Deployment(tiny_qa_deployment, batch_size=16))(PAIRS)
    assert [one.text for one in alone] == [one.text for one in together]
    assert QuestionAnswerer(tiny_qa_deployment)([]) == []


def test_rules_of_a_model_that_states_none_are_the_usual_ones() -> None:
    assert rules_of({}) == rules_of({"question_answering": "?"}) == SpanRules()


def test_mistakes_are_told(tiny_qa_deployment: Path, tiny_deployment: Path) -> None:
    with pytest.raises(InputError, match="answers need a question answering model"):
        QuestionAnswerer(tiny_deployment)
    with pytest.raises(InputError, match="stride must be from 0 to 28 for windows of 32 tokens, got 29"):
        QuestionAnswerer(tiny_qa_deployment, stride=29)
