"""Shrinking just before export, and the look at the outputs afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sparsify.errors import CheckFailed
from sparsify.export import slim
from sparsify.export.parity import FP32_TOLERANCE
from sparsify.export.slim import shrink_source
from sparsify.export.source import open_source
from sparsify.pruning.shrink import Shrinkage, shrink
from tests.helpers.models import tiny_classifier
from tests.helpers.units import half, kill

Spoil = Callable[[Any], object]


def source(dead: bool = True, head: str = "TokenClassification") -> Any:
    model = tiny_classifier(head=head).eval()
    if dead:
        kill(model, half)
    return open_source(model)


def test_dead_parts_go_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    found = source()
    with caplog.at_level(logging.INFO, "sparsify"):
        change = shrink_source(found)
    assert change.parameters[1] == sum(p.numel() for p in found.model.parameters()) < change.parameters[0]
    assert f"parameters: {change.parameters[0]:,} -> {change.parameters[1]:,}" in caplog.text


def test_where_nothing_is_dead_nothing_goes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sparsify"):
        assert not shrink_source(source(dead=False))
    assert "nothing was removed" in caplog.text


def wrongly(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """Let shrinking spoil the model."""

    def shrunk(model: nn.Module) -> Shrinkage:
        change = shrink(model)
        with torch.no_grad():
            spoil(model)
        return change

    monkeypatch.setattr(slim, "shrink", shrunk)


@pytest.mark.parametrize(
    ("spoil", "head"),
    [
        (lambda model: model.classifier.bias.add_(2 * FP32_TOLERANCE), "TokenClassification"),
        (lambda model: model.classifier.bias[2].fill_(np.nan), "TokenClassification"),
        (lambda model: model.qa_outputs.bias[0].fill_(np.nan), "QuestionAnswering"),
        (lambda model: model.qa_outputs.bias[1].fill_(np.nan), "QuestionAnswering"),  # of the second output
        (lambda model: model.qa_outputs.bias[1].add_(1), "QuestionAnswering"),
    ],
    ids=["little", "nan", "nan first", "nan second", "second"],
)
def test_a_model_that_says_something_else_afterwards_is_refused(
    spoil: Spoil, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrongly(monkeypatch, spoil)
    with pytest.raises(CheckFailed, match=r"changed the model's outputs by \S+: export without --shrink"):
        shrink_source(source(head=head))


def test_less_than_the_tolerance_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wrongly(monkeypatch, lambda model: model.classifier.bias.add_(FP32_TOLERANCE / 2))
    assert shrink_source(source())


def test_int8_is_left_to_the_export_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    wrongly(monkeypatch, lambda model: model.classifier.bias.add_(1))
    monkeypatch.setattr("sparsify.export.source.Source.precision", "int8")
    assert shrink_source(source())
