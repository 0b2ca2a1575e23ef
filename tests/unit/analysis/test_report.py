"""Tests of sparsify.analysis.report."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from sparsify.analysis.report import PRUNABLE, WHOLE, count_zeros, model_report, quantized, weight_bits


@pytest.fixture
def model() -> nn.Module:
    """An embedding, a convolution, two Linears and a norm, with 10 zeros among the Linears."""
    made = nn.Sequential(nn.Embedding(7, 4), nn.Conv2d(1, 2, 3), nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(1.0)
        made[2].weight.view(-1)[:10] = 0
        made[0].weight[0] = 0
    return made


def test_layers(model: nn.Module) -> None:
    layers = {layer.name: layer for layer in model_report(model).layers}
    assert {name: (layer.type, layer.shape) for name, layer in layers.items()} == {
        "0": ("Embedding", (7, 4)),
        "1": ("Conv2d", (2, 1, 3, 3)),
        "2": ("Linear", (5, 4)),
        "4": ("Linear", (2, 5)),
    }
    assert (layers["2"].zeros, layers["2"].sparsity, layers["2"].bits, layers["2"].size) == (10, 0.5, 32, 80)
    assert [layer.prunable for layer in layers.values()] == [False, True, True, True]


def test_the_two_sparsities(model: nn.Module) -> None:
    report = model_report(model)
    prunable = 18 + 20 + 10
    whole = prunable + 28 + 2 + 5 + 2 + 10
    assert report.sparsity_prunable == pytest.approx(10 / prunable)
    assert report.parameters == whole
    assert report.sparsity_model == pytest.approx(14 / whole)
    assert report.dense_bytes == report.bytes == 4 * whole
    assert report.bits == "32"


def test_words_are_the_same_everywhere(model: nn.Module) -> None:
    totals = model_report(model).totals()
    assert list(totals)[:2] == [PRUNABLE, WHOLE] == ["sparsity of the prunable layers", "sparsity of the whole model"]
    assert totals[PRUNABLE] == "20.83%"


def test_a_tied_weight_counts_once() -> None:
    model = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 6, bias=False))
    model[1].weight = model[0].weight
    report = model_report(model)
    assert [layer.name for layer in report.layers] == ["0"]
    assert report.parameters == 18


def test_wrappers_names_are_left_out(model: nn.Module) -> None:
    names = [layer.name for layer in model_report(nn.ModuleDict({"module": model})).layers]
    assert names == ["0", "1", "2", "4"]


def test_quantized_layers_take_a_quarter(tiny_int8_model: Any, make_tiny_bert: Any) -> None:
    dense, small = model_report(make_tiny_bert()), model_report(tiny_int8_model)
    assert small.bits == "8"
    assert small.quantized_layers == len(small.layers) == len(dense.layers)
    assert [layer.type for layer in small.layers] == [layer.type for layer in dense.layers]
    assert small.parameters == dense.parameters
    assert small.dense_bytes == dense.bytes
    classifier = small.layers[-1]
    assert (classifier.shape, classifier.size) == ((5, 32), 5 * 32 + 5 * 5)
    assert small.bytes < 0.35 * dense.bytes


def test_quantizers_that_are_off_or_never_saw_data_do_not_count(tiny_int8_model: Any) -> None:
    model = copy.deepcopy(tiny_int8_model)
    assert weight_bits(model.classifier) == 8
    assert quantized(model.classifier, "input_fq")
    model.classifier.weight_fq.enabled = False
    assert weight_bits(model.classifier) == 32
    model.classifier.input_fq.scale.zero_()
    assert not quantized(model.classifier, "input_fq")
    assert model_report(model).bits == "8/32"
    assert not quantized(nn.Linear(2, 2))


def test_json_and_table(model: nn.Module) -> None:
    report = model_report(model)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["sparsity_prunable"] == report.sparsity_prunable
    assert plain["layers"][2]["sparsity"] == 0.5
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(report.to_table())
    text = " ".join(console.export_text().split())
    assert "50.00%" in text
    assert all(word in text for word in (*PRUNABLE.split(), *WHOLE.split()))


def test_negative_zero_is_zero() -> None:
    assert count_zeros(torch.tensor([-0.0, 0.0, 1.0, float("nan")])) == 2


def test_a_model_without_parameters() -> None:
    report = model_report(nn.ReLU())
    assert (report.sparsity_prunable, report.sparsity_model, report.bits, report.layers) == (0.0, 0.0, "32", ())
