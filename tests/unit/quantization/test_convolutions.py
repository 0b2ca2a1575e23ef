"""Quantizers around convolutions: which outputs have one, what is shared, what a fold keeps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.export_form import ExportConv2d, QuantizeDequantize, to_export_form
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.fold import fold_batch_norms
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.layers import QBatchNorm2d, QReLU, quantizers
from sparsify.quantization.qparams import ACTIVATION, WEIGHT
from sparsify.quantization.remove import remove_quantizers
from sparsify.quantization.schemes import Scheme, Selection
from tests.helpers.convnets import Residual, images, normalized


def test_outputs_that_a_sum_reads_have_a_quantizer_behind_the_norm() -> None:
    model = Residual()
    coverage = insert_quantizers(model)
    assert coverage.outputs == ("block.norm2", "block.down.1")
    assert type(model.block.norm2) is QBatchNorm2d
    assert type(model.block.norm1) is nn.BatchNorm2d  # the next convolution's input quantizer takes it
    assert model.block.conv1.output_fq is model.block.conv2.output_fq is None


def test_behind_a_relu_where_it_is_the_last_of_the_chain() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert insert_quantizers(model).outputs == ("2",)
    assert isinstance(model[2], QReLU)
    calibrate(model, [images()])
    assert model[2].output_fq.zero_point == 0
    integers = model[:3](images()) / model[2].output_fq.scale
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-3)


def test_convolutions_that_read_one_tensor_share_its_quantizer() -> None:
    model = Residual()
    insert_quantizers(model)
    assert model.block.conv1.input_fq is model.block.down[0].input_fq
    assert model.block.conv1.input_fq is not model.block.conv2.input_fq
    names = [name for name, m in model.named_modules(remove_duplicate=False) if isinstance(m, ActivationQuant)]
    assert sorted(names) == sorted(set(names))
    assert "block.down.0.input_fq" not in names


@pytest.mark.parametrize(
    ("selection", "outputs"),
    [
        (Selection(conv_outputs=False), ()),
        (Selection(ignore=("block.conv2",)), ("block.norm1", "block.down.1")),
        (Selection(Scheme(None, WEIGHT)), ()),
        (
            Selection(overrides={"head": Scheme(ACTIVATION, WEIGHT, ACTIVATION)}),
            ("block.norm2", "block.down.1", "head"),
        ),
    ],
    ids=["switched off", "a reader stays float", "weights only", "asked for by a scheme"],
)
def test_which_outputs(selection: Selection, outputs: tuple[str, ...]) -> None:
    assert insert_quantizers(Residual(), selection).outputs == outputs


def test_norms_held_as_attributes_are_folded_and_keep_their_output_quantizer() -> None:
    model = normalized(Residual())
    insert_quantizers(model)
    calibrate(model, [images()])
    folded = copy.deepcopy(model)
    assert fold_batch_norms(folded) == 3
    assert isinstance(folded.block.norm1, nn.Identity)
    assert isinstance(folded.block.norm2, ActivationQuant)
    torch.testing.assert_close(folded(images(seed=1)), model(images(seed=1)), rtol=1e-3, atol=1e-3)


def test_training_beside_the_norm_rounds_to_the_integers_of_a_fused_convolution() -> None:
    """With one scale per channel, rounding and multiplying by the norm's factor can be exchanged."""
    model = normalized(Residual())
    insert_quantizers(model)
    calibrate(model, [images()])
    conv, norm = model.block.conv1, model.block.norm1
    factor = (norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach().view(-1, 1, 1, 1)
    fused = copy.deepcopy(conv.weight_fq)
    fused.observe(conv.weight * factor)
    torch.testing.assert_close(fused(conv.weight * factor), conv.weight_fq(conv.weight) * factor)


def test_without_its_quantizers_it_is_the_float_model() -> None:
    model = Residual().eval()
    given = images()
    plain, classes = model(given), [type(m) for m in model.modules()]
    insert_quantizers(model)
    calibrate(model, [given])
    assert not torch.equal(model(given), plain)
    remove_quantizers(model)
    assert [type(m) for m in model.modules()] == classes
    assert not quantizers(model)
    assert torch.equal(model(given), plain)


def test_the_export_form_keeps_output_quantizers() -> None:
    model = normalized(Residual())
    insert_quantizers(model)
    calibrate(model, [images()])
    exported = to_export_form(copy.deepcopy(model))
    assert isinstance(exported.block.norm2, QuantizeDequantize)
    assert isinstance(exported.block.conv2, ExportConv2d)
    assert exported.block.conv1.inputs is exported.block.down[0].inputs
