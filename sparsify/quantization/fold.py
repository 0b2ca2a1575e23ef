"""Fold batch norms into the quantized convolutions before them, integers unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from sparsify.quantization.dataflow import convolution_flows
from sparsify.quantization.layers import QConv2d

_SMALLEST = 1e-30  # of a scale: its reciprocal is still finite


def conv_norm_pairs(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d, nn.Module, str]]:
    """Convolutions whose output a batch norm with statistics of its own reads, and nothing else does.

    Yields:
        Convolution, norm, the module that holds the norm, and the norm's name in it.
    """
    for name, flow in convolution_flows(model).items():
        conv, norm = model.get_submodule(name), model.get_submodule(flow.norm or "")
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            parent, _, child = (flow.norm or "").rpartition(".")
            yield conv, norm, model.get_submodule(parent), child


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> int:
    """Fold each norm of :func:`conv_norm_pairs` that follows a calibrated quantized convolution; returns how many.

    The norm's factor multiplies the scale of its output channel, its sign the integers of that channel, so the
    integer runtime computes with the very weights that were trained. One scale of a whole weight becomes one per channel.
    """
    folded = 0
    for conv, norm, parent, name in list(conv_norm_pairs(model)):
        if not isinstance(conv, QConv2d) or conv.weight_fq.spec.axis not in (0, None):
            continue
        if not (conv.weight_fq.enabled and conv.weight_fq.calibrated):
            continue
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            continue
        factor = torch.rsqrt(variance.float() + norm.eps)
        factor = factor if norm.weight is None else factor * norm.weight.float()
        shift = -mean.float() * factor if norm.bias is None else norm.bias.float() - mean.float() * factor
        bias = shift if conv.bias is None else conv.bias.float() * factor + shift
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype))
        # Rounded first: products of the integers, so that no rounding error of the factor moves one of them.
        weight = conv.weight_fq.round(conv.weight).float() * factor.view(-1, 1, 1, 1)
        # A new parameter: another layer may hold the same one, without a norm behind it.
        conv.weight = nn.Parameter(weight.to(conv.weight.dtype))
        _one_per_channel(conv)
        conv.weight_fq.scale.mul_(factor.abs()).clamp_(min=_SMALLEST)
        conv.weight_fq.learning = False  # a learned clip value knows nothing of the factor
        parent._modules[name] = getattr(norm, "output_fq", None) or nn.Identity()
        folded += 1
    return folded


def _one_per_channel(conv: QConv2d) -> None:
    fq = conv.weight_fq
    if fq.spec.axis is None:
        fq.spec = replace(fq.spec, axis=0)
        fq.scale, fq.zero_point = (t.expand(conv.out_channels).clone() for t in (fq.scale, fq.zero_point))
