"""The export form: integer weights and explicit QuantizeLinear / DequantizeLinear in place of fake quantization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant, FakeQuant
from sparsify.quantization.fold import fold_batch_norms
from sparsify.quantization.layers import QConv2d, QEmbedding, QLayer, QLinear, stored_bits
from sparsify.quantization.qparams import QuantSpec, quantize


class QuantizeDequantize(nn.Module):
    """A calibrated activation quantizer as a pair of ONNX operators; passes through where it was never calibrated.

    QuantizeLinear saturates at the limits of its type: where the format leaves some of them out, values are clipped
    before it.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, fq: FakeQuant) -> None:
        super().__init__()
        self.active = fq.enabled and fq.calibrated
        self.dtype = fq.spec.dtype
        self.register_buffer("scale", fq.scale.detach().clone())
        self.register_buffer("zero_point", fq.zero_point.to(self.dtype))
        self.limits: tuple[float, float] | None = None
        kinds = torch.iinfo(self.dtype)
        if (fq.spec.qmin, fq.spec.qmax) != (kinds.min, kinds.max):
            low, high = (float((end - fq.zero_point) * fq.scale) for end in (fq.spec.qmin, fq.spec.qmax))
            self.limits = low, high

    def forward(self, values: Tensor) -> Tensor:
        """``values`` as an integer runtime sees them."""
        if not self.active:
            return values
        if self.limits is not None:
            values = values.clamp(*self.limits)
        integers = _onnx("QuantizeLinear", (values, self.scale, self.zero_point), self.dtype, values.shape)
        return _onnx("DequantizeLinear", (integers, self.scale, self.zero_point), torch.float32, values.shape)


class _IntegerWeight(nn.Module):
    """Integers of a weight, and the scales that turn them back.

    Args:
        layer: A quantized layer.
        transpose: Store [in, out], so that the file needs no Transpose before its MatMul.
    """

    integers: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, layer: QLayer, transpose: bool = False) -> None:
        super().__init__()
        fq = layer.weight_fq
        spec: QuantSpec = fq.spec
        integers = quantize(layer.weight.detach(), fq.scale, fq.zero_point, spec)
        self.block = spec.group
        self.axis = None if spec.axis is None else int(transpose and not self.block)
        self.bits = stored_bits(layer)
        self.register_buffer("integers", integers.t().contiguous() if transpose else integers)
        scale, zero = fq.scale.detach().clone(), fq.zero_point.to(spec.dtype)
        self.register_buffer("scale", scale.t().contiguous() if self.block else _usable(scale, integers))
        self.register_buffer("zero_point", zero.t().contiguous() if self.block else zero)

    def dequantized(self, integers: Tensor) -> Tensor:
        """Floats of ``integers``: the whole weight, or rows of a table."""
        attributes: dict[str, int] = {} if self.axis is None else {"axis": self.axis}
        inputs: tuple[Tensor, ...] = (integers, self.scale, self.zero_point)
        if self.bits == 4:  # symmetric: a zero point that is left out is 0; by its absence the file's writer knows it
            inputs = (integers, self.scale)
        if self.block:
            attributes["block_size"] = self.block
        return _onnx("DequantizeLinear", inputs, torch.float32, integers.shape, attributes)


def _keep_facts(form: nn.Module, layer: QLayer) -> None:
    """Give a form its layer's sizes, stride and the like: models read them past ``forward``, too (MobileNetV2)."""
    for name in layer.__constants__:
        setattr(form, name, getattr(layer, name))


class ExportLinear(nn.Module):
    """Linear with an integer weight."""

    def __init__(self, layer: QLinear, inputs: nn.Module | None, outputs: nn.Module | None = None) -> None:
        super().__init__()
        _keep_facts(self, layer)
        self.stored = _IntegerWeight(layer, transpose=True)
        self.bias = layer.bias
        self.inputs = inputs
        self.outputs = outputs
        self.integer_bias = _integer_bias(layer.bias, inputs, self.stored)

    @property
    def weight(self) -> Tensor:
        """The weight in torch's layout, for models that read it past ``forward``."""
        return self.stored.dequantized(self.stored.integers).t()

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        # With rank 2 ONNX Runtime would join MatMul and Add into a float Gemm before it looks for integers.
        flat = input.dim() == 2
        values = input.unsqueeze(0) if flat else input
        values = values if self.inputs is None else self.inputs(values)
        output = torch.matmul(values, self.stored.dequantized(self.stored.integers))
        if self.bias is not None:
            # Where all sizes are known, ONNX Runtime makes MatMul and Add a Gemm whatever their rank, and an integer
            # one only if the bias is an integer too.
            fixed = all(isinstance(size, int) for size in values.shape)
            output = output + (self.integer_bias() if fixed and self.integer_bias is not None else self.bias)
        output = output if self.outputs is None else self.outputs(output)
        return output.squeeze(0) if flat else output


class RoundedLinear(nn.Module):
    """Linear whose weight is float and on the integer grid: ONNX Runtime then finds the very integers, and quantizes inputs
    as they come.
    """

    rounded: Tensor

    def __init__(self, layer: QLinear) -> None:
        super().__init__()
        _keep_facts(self, layer)
        self.register_buffer("rounded", layer.weight_fq.round(layer.weight.detach()).t().contiguous())
        self.bias = layer.bias

    @property
    def weight(self) -> Tensor:
        """The weight in torch's layout, for models that read it past ``forward``."""
        return self.rounded.t()

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        flat = input.dim() == 2  # of rank 2 it would become a Gemm, which has no integer form with these inputs
        output = torch.matmul(input.unsqueeze(0) if flat else input, self.rounded)
        output = output if self.bias is None else output + self.bias
        return output.squeeze(0) if flat else output


class _IntegerBias(nn.Module):
    """A bias in int32 steps of input scale times weight scale, as integer matrix products add it up."""

    integers: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, integers: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("integers", integers)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", torch.zeros_like(integers) if scale.ndim else integers.new_zeros(()))

    def forward(self) -> Tensor:
        """Floats [out]."""
        inputs = (self.integers, self.scale, self.zero_point)
        attributes: dict[str, int] = {"axis": 0} if self.scale.ndim else {}
        return _onnx("DequantizeLinear", inputs, torch.float32, self.integers.shape, attributes)


def _integer_bias(bias: Tensor | None, inputs: nn.Module | None, weight: _IntegerWeight) -> _IntegerBias | None:
    if bias is None or not isinstance(inputs, QuantizeDequantize) or not inputs.active:
        return None
    if inputs.dtype is torch.int8:  # symmetric, as TensorRT wants it: there no bias may be an integer
        return None
    if weight.block:
        return None
    scale = inputs.scale * weight.scale
    steps = torch.round(bias.detach().double() / scale)
    if bool((steps.abs() > torch.iinfo(torch.int32).max).any()):
        return None
    return _IntegerBias(steps.to(torch.int32), scale)


class ExportConv2d(nn.Module):
    """Conv2d with an integer weight."""

    def __init__(self, layer: QConv2d, inputs: nn.Module | None, outputs: nn.Module | None = None) -> None:
        super().__init__()
        _keep_facts(self, layer)
        self.stored = _IntegerWeight(layer)
        self.bias = layer.bias
        self.inputs = inputs
        self.outputs = outputs
        self._reversed_padding_repeated_twice = layer._reversed_padding_repeated_twice

    @property
    def weight(self) -> Tensor:
        """The weight in torch's layout, for models that read it past ``forward``."""
        return self.stored.dequantized(self.stored.integers)

    def forward(self, input: Tensor) -> Tensor:
        """[batch, in, height, width] to [batch, out, height', width']."""
        values = input if self.inputs is None else self.inputs(input)
        output: Tensor = nn.Conv2d._conv_forward(self, values, self.weight, self.bias)  # type: ignore[arg-type]
        return output if self.outputs is None else self.outputs(output)


class ExportEmbedding(nn.Module):
    """Embedding with an integer table: rows are gathered as integers, then turned to floats."""

    def __init__(self, layer: QEmbedding) -> None:
        super().__init__()
        _keep_facts(self, layer)
        self.stored = _IntegerWeight(layer)

    @property
    def weight(self) -> Tensor:
        """The weight in torch's layout, for models that read it past ``forward``."""
        return self.stored.dequantized(self.stored.integers)

    def forward(self, input: Tensor) -> Tensor:
        """Ids [...] to [..., size]."""
        return self.stored.dequantized(nn.functional.embedding(input, self.stored.integers))


def to_export_form(model: nn.Module) -> nn.Module:
    """Replace quantized layers by their export form, in place: call it on a deep copy, in eval mode.

    A batch norm that follows a quantized convolution is folded into it without changing an integer: its factor goes
    into the convolution's scales (and signs), its shift into the bias.

    Returns:
        The model.
    """
    fold_batch_norms(model)
    replaced: dict[int, nn.Module] = {}
    activations: dict[int, QuantizeDequantize] = {}
    for module in list(model.modules()):
        if isinstance(module, QLayer):
            replaced[id(module)] = _export_layer(module, activations)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
            elif isinstance(child, ActivationQuant):
                setattr(parent, name, _activation(child, activations))
    return model


def dynamic_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose inputs have the range of each batch."""
    modules = model.named_modules()
    return [
        n for n, m in modules if isinstance(m, QLinear) and isinstance(m.input_fq, DynamicQuant) and m.weight_fq.enabled
    ]


def needs_blocks_or_int4(model: nn.Module) -> bool:
    """Whether a model in export form takes operators that ONNX has from opset 21 on."""
    return any(isinstance(m, _IntegerWeight) and (m.block or m.bits == 4) for m in model.modules())


def has_active_quantizers(model: nn.Module) -> bool:
    """Whether any fake quantizer is enabled and calibrated."""
    return any(isinstance(m, FakeQuant) and m.enabled and m.calibrated for m in model.modules())


def _export_layer(layer: QLayer, activations: dict[int, QuantizeDequantize]) -> nn.Module:
    if not (layer.weight_fq.enabled and layer.weight_fq.calibrated):
        return _as_float(layer)
    if isinstance(layer, QEmbedding):
        return ExportEmbedding(layer)
    if isinstance(layer, QLinear) and isinstance(layer.input_fq, DynamicQuant):
        return RoundedLinear(layer)
    inputs, outputs = (
        _activation(fq, activations) if isinstance(fq, ActivationQuant) else None
        for fq in (layer.input_fq, layer.output_fq)
    )
    made = ExportLinear if isinstance(layer, QLinear) else ExportConv2d
    return made(layer, inputs, outputs)  # type: ignore[arg-type]


def _activation(fq: ActivationQuant, made: dict[int, QuantizeDequantize]) -> QuantizeDequantize:
    return made.setdefault(id(fq), QuantizeDequantize(fq))


def _as_float(layer: QLayer) -> nn.Module:
    layer.__class__ = type(layer).__mro__[1]
    for name in ("weight_fq", "input_fq", "output_fq"):
        layer._modules.pop(name, None)
        layer.__dict__.pop(name, None)
    return layer


def _usable(scale: Tensor, integers: Tensor) -> Tensor:
    """The scale of a channel of zeros is free: one like the others', so that a bias can be counted in its steps."""
    if scale.ndim == 0:
        return scale
    return torch.where(integers.flatten(1).any(dim=1), scale, scale.max())


def _onnx(
    operator: str, inputs: tuple[Tensor, ...], dtype: torch.dtype, shape: Any, attributes: dict[str, int] | None = None
) -> Tensor:
    result: Tensor = torch.onnx.ops.symbolic(operator, inputs, {**(attributes or {})}, dtype=dtype, shape=shape)
    return result
