"""Weights of an ONNX file against the model's, where the exporter has folded a batch norm into a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from sparsify import export_onnx
from sparsify.export.graph import load_graph
from sparsify.export.weights import _by_channel, _proportional, check_weights

LAYERS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 8), nn.BatchNorm1d(8), (6,)),
    "conv1d": (nn.Conv1d(3, 8, 3, bias=False), nn.BatchNorm1d(8), (3, 6)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), (4, 5, 5)),
    "transposed": (nn.ConvTranspose2d(3, 8, 2), nn.BatchNorm2d(8), (3, 5, 5)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 8, 2, groups=2), nn.BatchNorm2d(8), (4, 5, 5)),
}


def exported(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...], folder: Path) -> tuple[nn.Module, Any]:
    """A pruned layer with its norm, and their graph, which passed."""
    model = nn.Sequential(layer, norm, nn.ReLU()).eval()
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.uniform_(0.5, 2.0)
        norm.weight[0] = -1.5
        layer.weight.view(-1)[::3] = 0
    report = export_onnx(model, folder / "out", inputs=[torch.randn(4, *shape)])
    assert report.passed
    assert report.verification.warnings == ()
    return model, load_graph(folder / "out" / "model.onnx")


@pytest.mark.parametrize("kind", LAYERS)
def test_a_norm_that_was_folded_in_hides_no_weight(kind: str, tmp_path: Path) -> None:
    layer, norm, shape = LAYERS[kind]
    model, graph = exported(layer, norm, shape, tmp_path)
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    (check,) = check_weights(model, graph)
    assert check.found
    assert check.passed
    assert check.zeros_file == check.zeros_model >= layer.weight.numel() // 3
    (tensor,) = (t for t in graph.graph.initializer if len(t.dims) > 1)
    changed = numpy_helper.to_array(tensor).copy()
    changed.flat[0] = 0.5  # a masked weight that came back
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    (check,) = check_weights(model, graph)
    assert check.found
    assert not check.passed


def test_a_layer_that_its_own_node_reads_is_held_to_the_very_values(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    export_onnx(model, tmp_path / "out", inputs=[torch.randn(4, 3)])
    graph = load_graph(tmp_path / "out" / "model.onnx")
    assert all(check.passed for check in check_weights(model, graph))
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    assert [check.passed for check in check_weights(model, graph)] == [False, True]


ROWS = st.lists(st.lists(st.integers(-5, 5), min_size=3, max_size=3), min_size=4, max_size=4)


@given(ROWS, st.lists(st.sampled_from([-2.0, -0.3, 0.7, 3.0, 0.0]), min_size=4, max_size=4))
def test_factors_per_output_are_allowed_and_nothing_else(rows: list[list[int]], factors: list[float]) -> None:
    own = np.array(rows, np.float32)
    scaled = own * np.array(factors, np.float32)[:, None]
    assert _proportional(scaled, own, None)
    for row, factor in enumerate(factors):
        changed = scaled.copy()
        changed[row, 0] += 1.0
        if np.any(own[row, 1:]) or (not own[row].any()):  # else the change is a factor, too
            assert not _proportional(changed, own, None), factor


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_outputs_of_a_transposed_convolution_lie_second_and_by_group(groups: int) -> None:
    layer = nn.ConvTranspose1d(4, 8, 3, groups=groups)
    rows = _by_channel(layer.weight.detach().numpy(), groups)
    assert rows.shape == (8, 4 // groups * 3)
    for channel in range(8):
        one = torch.zeros(1, 8, 5)
        one[0, channel] = 1.0
        # The derivative of one output channel reaches its own weights only.
        layer.zero_grad()
        (layer(torch.randn(1, 4, 3)) * one).sum().backward()
        reached = _by_channel((layer.weight.grad != 0).float().numpy(), groups)
        assert reached.any(1).nonzero()[0].tolist() == [channel]
