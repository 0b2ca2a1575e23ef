"""Layers with fake quantizers at the inputs of their matmul. Made by class swap, so weights keep their names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsify.quantization.fake_quant import FakeQuant, WeightQuant
from sparsify.quantization.qparams import SMALLEST, QuantSpec, scale_shape


class QLinear(nn.Linear):
    """Linear whose input and weight are fake quantized, and its output where asked.

    Layers fed by one tensor share one ``input_fq``: its owner registers and observes it, the others refer to it.
    """

    weight_fq: WeightQuant
    input_fq: FakeQuant | None
    output_fq: FakeQuant | None
    owns_input: bool

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Linear``: [..., in_features] to [..., out_features]."""
        weight: Tensor = self.weight_fq(self.weight)
        return _output(self, functional.linear(_quantized(self, input), weight, self.bias))


class QConv2d(nn.Conv2d):
    """Conv2d whose input and weight (per output channel) are fake quantized, and its output where asked."""

    weight_fq: WeightQuant
    input_fq: FakeQuant | None
    output_fq: FakeQuant | None
    owns_input: bool

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Conv2d``: [batch, in, height, width] to [batch, out, height', width']."""
        weight: Tensor = self.weight_fq(self.weight)
        return _output(self, self._conv_forward(_quantized(self, input), weight, self.bias))


class QEmbedding(nn.Embedding):
    """Embedding whose table is fake quantized with one scale; only the rows looked up are rounded."""

    weight_fq: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Embedding``: ids [...] to [..., embedding_dim]."""
        rows: Tensor = self.weight_fq(self.weight, super().forward(input))
        return rows


class QBatchNorm2d(nn.BatchNorm2d):
    """Batch norm behind a quantized convolution, whose output is fake quantized in the convolution's place."""

    output_fq: FakeQuant | None

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.BatchNorm2d``: [batch, channels, height, width] to the same."""
        return _output(self, super().forward(input))


class QReLU(nn.ReLU):
    """ReLU behind a quantized convolution, whose output is fake quantized in the convolution's place."""

    output_fq: FakeQuant | None

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.ReLU``: any shape to the same."""
        return _output(self, super().forward(input))


QUANTIZABLE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QLinear,
    nn.Conv2d: QConv2d,
    nn.Embedding: QEmbedding,
}
QLayer = QLinear | QConv2d | QEmbedding
_TAILS: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm2d: QBatchNorm2d, nn.ReLU: QReLU}


def swap_class(
    module: nn.Module,
    weight: QuantSpec,
    activation: FakeQuant | None,
    owns_input: bool = True,
    learned: bool = False,
) -> None:
    """Turn ``module`` (exactly a Linear, Conv2d or Embedding) into its quantized class, in place.

    Args:
        module: The layer.
        weight: Integer format of its weight.
        activation: Quantizer of its input, or None.
        owns_input: Whether ``activation`` is registered here; else it is referred to only, since a module registered
            twice breaks ``save_pretrained``.
        learned: Whether the weight's range may be learned.
    """
    table = module.weight
    if not isinstance(table, Tensor):
        raise TypeError(f"{type(module).__name__} has no weight")
    module.__class__ = QUANTIZABLE[type(module)]
    module.weight_fq = WeightQuant(weight, scale_shape(weight, table.shape), device=table.device, learned=learned)
    module.weight_fq.train(module.training)
    if isinstance(module, QEmbedding):
        return
    module.register_module("output_fq", None)
    object.__setattr__(module, "owns_input", owns_input)
    if owns_input:
        module.register_module("input_fq", activation)
    else:
        object.__setattr__(module, "input_fq", activation)


def quantize_output(module: nn.Module, activation: FakeQuant) -> None:
    """Let ``activation`` quantize what ``module`` gives, in place.

    Args:
        module: A quantized Linear or Conv2d, or exactly a ReLU or BatchNorm2d that follows one.
        activation: The quantizer; registered as ``output_fq``.
    """
    module.__class__ = _TAILS.get(type(module), type(module))
    module.register_module("output_fq", activation)


def adopt_inputs(model: nn.Module) -> None:
    """Give each input quantizer whose owner has left ``model`` to the first layer that refers to it.

    What nobody registers is in no state dict, and no phase of quantization reaches it.
    """
    owned = {id(fq) for fq in quantizers(model).values()}
    for module in model.modules():
        if not isinstance(module, QLinear | QConv2d) or module.input_fq is None or id(module.input_fq) in owned:
            continue
        fq = module.input_fq
        owned.add(id(fq))
        object.__delattr__(module, "input_fq")
        module.register_module("input_fq", fq)
        object.__setattr__(module, "owns_input", True)


def _output(module: QLinear | QConv2d | QBatchNorm2d | QReLU, values: Tensor) -> Tensor:
    if module.output_fq is None:
        return values
    rounded: Tensor = module.output_fq(values)
    return rounded


def _quantized(layer: QLinear | QConv2d, values: Tensor) -> Tensor:
    fq = layer.input_fq
    if fq is None or not (fq.enabled or fq.observing or fq.clip_value is not None):
        return values
    if layer.owns_input:
        rounded: Tensor = fq(values)
        return rounded
    return fq.round(values) if fq.enabled else values


def stored_bits(layer: nn.Module) -> int:
    """Bits that each weight of a quantized layer takes in a file: 4 or 8.

    4 where a Linear's weight has 4 bits and its input is float: what runtimes have kernels for. With integer inputs they
    multiply integers of 8 bits.
    """
    if not isinstance(layer, QLinear) or layer.weight_fq.spec.bits != 4:
        return 8
    return 8 if layer.input_fq is not None and layer.input_fq.enabled and layer.input_fq.calibrated else 4


def quantizers(model: nn.Module) -> dict[str, FakeQuant]:
    """Every fake quantizer of ``model``, each once, under its first name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, FakeQuant)}


def set_observing(model: nn.Module, observing: bool) -> None:
    """Let all ranges follow the data, or freeze them.

    Switched off, the range of each weight is taken once more from the weight as it is now.
    """
    if not observing:
        observe_weights(model)
    for fq in quantizers(model).values():
        fq.observing, fq.learning = observing, False


def start_learning(model: nn.Module) -> None:
    """Let ranges that were observed be trained, where they can be; what was never observed goes on observing."""
    observe_weights(model)
    for fq in quantizers(model).values():
        if fq.calibrated:
            fq.start_learning()


def set_enabled(model: nn.Module, enabled: bool) -> None:
    """Switch rounding on or off, everywhere."""
    for fq in quantizers(model).values():
        fq.enabled = enabled


def enable_calibrated(model: nn.Module) -> None:
    """Freeze all quantizers; those with a range round, those never observed pass their input through."""
    for fq in quantizers(model).values():
        fq.observing = fq.calibrating = False
        fq.enabled = fq.calibrated


@torch.no_grad()
def follow_parameters(model: nn.Module) -> None:
    """After an optimizer step: keep ranges that are learned above 0, and write the scales that they stand for."""
    found = [fq for fq in quantizers(model).values() if fq.learning]
    clips = [fq.clip_value.data for fq in found if fq.clip_value is not None]
    if clips:
        torch._foreach_clamp_min_(clips, SMALLEST)
    for fq in found:
        fq.follow_parameter()


@torch.no_grad()
def observe_weights(model: nn.Module) -> None:
    """Set the range of each weight quantizer that follows its weight to that of the weight as it is now."""
    for module in model.modules():
        if isinstance(module, QLayer) and module.weight_fq.observing:
            module.weight_fq.observe(module.weight)
