from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from sparsify.tasks.question_answering.loss import span_loss
from tests.helpers import ner


def outputs(size: int = 4, length: int = 7) -> tuple[QuestionAnsweringModelOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, size, length, generator=generator)
    labels = torch.randint(0, length, (size, 3), generator=generator)
    labels[:, 2] = length
    return QuestionAnsweringModelOutput(start_logits=start, end_logits=end), labels


def test_it_is_the_loss_of_the_models_own_head() -> None:
    model: Any = ner.model(head="QuestionAnswering")
    assert isinstance(model, BertForQuestionAnswering)
    assert isinstance(model.config, BertConfig)
    ids, labels = torch.randint(5, 20, (4, 9)), torch.tensor([[1, 2, 9], [0, 0, 9], [3, 8, 9], [4, 4, 9]])
    theirs = model(ids, start_positions=labels[:, 0], end_positions=labels[:, 1]).loss
    torch.testing.assert_close(span_loss()(model(ids), labels), theirs)


def test_parts_of_a_step_add_up_to_the_whole() -> None:
    out, labels = outputs()
    labels[0] = -100
    items = (labels != -100).sum()
    parts = []
    for rows in (slice(0, 1), slice(1, 4)):
        some = QuestionAnsweringModelOutput(start_logits=out.start_logits[rows], end_logits=out.end_logits[rows])
        parts.append(span_loss()(some, labels[rows], num_items_in_batch=items))
    assert parts[0] == 0
    torch.testing.assert_close(sum(parts), span_loss()(out, labels))


def test_outputs_may_be_a_tuple() -> None:
    out, labels = outputs()
    torch.testing.assert_close(span_loss()((out.start_logits, out.end_logits), labels), span_loss()(out, labels))


@pytest.mark.parametrize("items", [None, torch.tensor(0)])
def test_nothing_counted_is_zero_not_nan(items: torch.Tensor | None) -> None:
    out, labels = outputs()
    assert span_loss()(out, torch.full_like(labels, -100), num_items_in_batch=items) == 0


def test_padding_changes_nothing() -> None:
    out, labels = outputs()
    wider = [torch.nn.functional.pad(one, (0, 5), value=9.0) for one in (out.start_logits, out.end_logits)]
    torch.testing.assert_close(span_loss()(wider, labels), span_loss()(out, labels))
