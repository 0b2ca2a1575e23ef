"""The export form computes what the fake quantizers computed: checked through ONNX's reference of the operators."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.export_form import ExportConv2d, ExportEmbedding, ExportLinear, to_export_form
from sparsify.quantization.fold import conv_norm_pairs, fold_batch_norms
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import QConv2d, set_enabled
from sparsify.quantization.qparams import WEIGHT, dequantize


def calibrated(model: nn.Module, sample: torch.Tensor) -> nn.Module:
    insert_quantizers(model)
    calibrate(model, [sample])
    return model.eval()


def test_linear_weights_lie_in_out_as_the_integers_of_training() -> None:
    torch.manual_seed(0)
    model = calibrated(nn.Sequential(nn.Linear(6, 4)), torch.randn(8, 6))
    rounded = model[0].weight_fq(model[0].weight).detach()
    exported = to_export_form(copy.deepcopy(model))[0]
    assert isinstance(exported, ExportLinear)
    assert exported.stored.integers.dtype == torch.int8
    assert exported.stored.integers.shape == (6, 4)
    assert (exported.in_features, exported.out_features) == (6, 4)
    scale, zero = exported.stored.scale, exported.stored.zero_point
    assert torch.equal(dequantize(exported.stored.integers.t(), scale, zero, WEIGHT), rounded)
    assert not [n for n, _ in exported.named_parameters() if n != "bias"]


def test_a_channel_of_zeros_gets_a_scale_its_bias_can_be_counted_in() -> None:
    model = nn.Sequential(nn.Linear(6, 4))
    with torch.no_grad():
        model[0].weight[2] = 0
    exported = to_export_form(calibrated(model, torch.randn(8, 6)))[0]
    assert exported.integer_bias is not None
    assert exported.stored.scale[2] == exported.stored.scale.max()
    back = exported.integer_bias.integers * exported.integer_bias.scale
    torch.testing.assert_close(back, model[0].bias.detach() if hasattr(model[0], "bias") else back, atol=1e-4, rtol=0)


def test_embeddings_keep_integers_and_what_is_off_stays_float() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 3), "head": nn.Linear(3, 2)})
    insert_quantizers(model)
    set_enabled(model, True)
    model["table"].weight_fq.observe(model["table"].weight)
    exported = to_export_form(copy.deepcopy(model))
    assert isinstance(exported["table"], ExportEmbedding)
    assert (exported["table"].num_embeddings, exported["table"].embedding_dim) == (5, 3)
    assert type(exported["head"]) is nn.Linear
    assert not list(exported["head"].children())
    assert torch.equal(exported["head"].weight, model["head"].weight)


class Convs(nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.mark.parametrize("bias", [True, False])
def test_folding_a_norm_changes_no_integer_and_no_output(bias: bool) -> None:
    model = Convs(bias).train()
    for _ in range(3):
        model(torch.randn(4, 3, 8, 8) * 2 + 1)
    with torch.no_grad():
        model.body[1].weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.0, 0.1]))
        model.body[1].bias.normal_()
    x = torch.randn(4, 3, 8, 8)
    calibrated(model, x)
    folded = copy.deepcopy(model)
    assert len(list(conv_norm_pairs(model))) == fold_batch_norms(folded) == 1
    assert isinstance(folded.body[0], QConv2d)
    assert isinstance(folded.body[1], nn.Identity)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    assert fold_batch_norms(folded) == 0


def test_convolutions_keep_their_geometry() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2))
    exported = to_export_form(calibrated(model, torch.randn(2, 4, 9, 9)))[0]
    assert isinstance(exported, ExportConv2d)
    assert (exported.stride, exported.padding, exported.dilation, exported.groups) == ((2, 2), (1, 1), (2, 2), 2)
    assert (exported.in_channels, exported.out_channels, exported.kernel_size) == (4, 6, (3, 3))
