"""Take fake quantizers out of a model again, in place."""

from __future__ import annotations

from torch import nn

from sparsify.quantization.attention import AttentionQuant
from sparsify.quantization.insert import coverage_of, forget
from sparsify.quantization.layers import QBatchNorm2d, QLayer, QReLU


def remove_quantizers(model: nn.Module) -> None:
    """Make ``model`` the float one that quantizers were put into: same weights, same names, its own attention."""
    replaced = coverage_of(model).replaced
    if replaced is not None:
        model.set_attn_implementation(replaced)  # type: ignore[operator]
    for module in list(model.modules()):
        if isinstance(module, QLayer):
            module.__class__ = type(module).__mro__[1]
            for name in ("weight_fq", "input_fq", "output_fq", "owns_input"):
                module._modules.pop(name, None)
                module.__dict__.pop(name, None)
        elif isinstance(module, QBatchNorm2d | QReLU):
            module.__class__ = type(module).__mro__[1]
            del module.output_fq
        elif isinstance(getattr(module, "attention_fq", None), AttentionQuant):
            del module.attention_fq
    forget(model)
