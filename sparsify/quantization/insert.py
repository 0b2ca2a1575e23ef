"""Put fake quantizers into a model, in place."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from sparsify.errors import RecipeError
from sparsify.quantization.attention import AttentionQuant
from sparsify.quantization.dataflow import Flow, convolution_flows
from sparsify.quantization.fake_quant import ActivationQuant, DynamicQuant, FakeQuant
from sparsify.quantization.layers import QLayer, quantize_output, quantizers, swap_class
from sparsify.quantization.observers import MOMENTUM
from sparsify.quantization.qparams import WEIGHT_AFFINE, WEIGHT_PER_TENSOR, QuantSpec
from sparsify.quantization.schemes import Scheme, Selection, layers_of
from sparsify.quantization.tracing import Trace, trace

logger = logging.getLogger(__name__)
_COVERAGE = "_sparsify_coverage"


@dataclass(frozen=True)
class Coverage:
    """What was quantized and what was not.

    Attributes:
        layers: Names of the layers with quantizers.
        attention: Names of the attention modules whose matmuls have quantizers.
        left: By name, why a layer stays float.
        attention_reason: Why no attention matmul has quantizers; empty if some have.
        selection: What was asked for.
        outputs: Names of the modules whose outputs have quantizers.
        replaced: Name of the attention function that the model had before, where it has another now.
    """

    layers: tuple[str, ...]
    attention: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    attention_reason: str = ""
    selection: Selection | None = None
    outputs: tuple[str, ...] = ()
    replaced: str | None = None


@dataclass(frozen=True)
class _Maker:
    """Makes quantizers of activations, all alike."""

    momentum: float
    learned: bool

    def activation(self, layer: nn.Module, spec: QuantSpec, widen: bool = False) -> FakeQuant:
        """One beside ``layer``'s weight."""
        device = layer.weight.device if isinstance(layer.weight, Tensor) else None
        made: FakeQuant = ActivationQuant(spec, self.momentum, widen, device, self.learned)
        if spec.dynamic:
            made = DynamicQuant(spec, device)
        made.train(layer.training)
        return made

    def attention(self, module: nn.Module, spec: QuantSpec, widen: bool) -> None:
        """Those of an attention module's matmuls, put into it."""
        device = next((p.device for p in module.parameters()), None)
        module.attention_fq = AttentionQuant(spec, self.momentum, widen, device, self.learned)
        module.attention_fq.train(module.training)


def insert_quantizers(model: nn.Module, selection: Selection | None = None, momentum: float = MOMENTUM) -> Coverage:
    """Insert quantizers, switched off; a second call with the same selection changes nothing.

    Args:
        model: Not wrapped, not sharded; changed in place. Its weights may be loaded later.
        selection: What to quantize and how; everything by default.
        momentum: Of the moving average of activation ranges.

    Returns:
        What is quantized and what is not, and why.

    Raises:
        RecipeError: The selection names what the model does not have, or the model is quantized by another one.
    """
    selection = selection or Selection()
    done = coverage_of(model)
    if done.selection is not None and quantizers(model):
        if done.selection != selection:
            raise RecipeError("the model is quantized already, by other settings: two cannot hold at once")
        return done
    selection.check(model)
    layers = layers_of(model)
    chosen, left = _choose(model, layers, selection)
    seen = trace(model, {n: layers[n] for n in chosen}, attention=bool(chosen) and selection.attention)
    for name in [n for n in chosen if seen.inputs and n not in seen.inputs]:
        left[name] = "the model reads its weight without calling it"
        del chosen[name]
    flows, maker = convolution_flows(model), _Maker(momentum, selection.learned)
    _swap(chosen, layers, seen, flows, maker)
    outputs = _quantize_outputs(model, chosen, selection, flows, maker)
    attention = []
    for name, calls in seen.attention.items():
        scheme = selection.scheme_of(model, name)
        if isinstance(scheme, Scheme) and scheme.inputs is not None and not scheme.dynamic:
            maker.attention(model.get_submodule(name), scheme.inputs, widen=calls > 1)
            attention.append(name)
    _forbid_fast_paths(model)
    reason = "" if attention else seen.reason or "the recipe leaves them float"
    coverage = Coverage(tuple(chosen), tuple(attention), left, reason, selection, outputs, seen.replaced)
    object.__setattr__(model, _COVERAGE, coverage)
    logger.info("quantizers in %d layers, %d attentions; %d layers stay float", len(chosen), len(attention), len(left))
    return coverage


def coverage_of(model: nn.Module) -> Coverage:
    """What ``insert_quantizers`` did to ``model`` (empty for a model without quantizers)."""
    done: Coverage = getattr(model, _COVERAGE, None) or Coverage(())
    return done


def forget(model: nn.Module) -> None:
    """Let a model whose quantizers were taken out count as float."""
    if hasattr(model, _COVERAGE):
        object.__delattr__(model, _COVERAGE)


def chosen_layers(model: nn.Module, selection: Selection) -> tuple[str, ...]:
    """Names of the layers whose weights ``selection`` would quantize; changes nothing and reads no weights.

    Raises:
        RecipeError: The selection names what the model does not have.
    """
    selection.check(model)
    return tuple(_choose(model, layers_of(model), selection)[0])


def _choose(
    model: nn.Module, layers: dict[str, nn.Module], selection: Selection
) -> tuple[dict[str, Scheme], dict[str, str]]:
    chosen: dict[str, Scheme] = {}
    left: dict[str, str] = {}
    tied = _tied(layers)
    for name, layer in layers.items():
        scheme = selection.scheme_of(model, name)
        if isinstance(scheme, Scheme) and id(layer.weight) in tied:
            left[name] = "its weight is tied to another layer's"
        elif isinstance(scheme, Scheme) and isinstance(layer.weight, Tensor) and not layer.weight.numel():
            left[name] = "its weight has no elements"
        elif isinstance(scheme, Scheme) and scheme.weights is None:
            left[name] = "its scheme has no weights"
        elif (
            isinstance(scheme, Scheme)
            and scheme.weights
            and not (scheme.weights.symmetric or isinstance(layer, nn.Embedding))
        ):
            raise RecipeError(f"weights that are not symmetric are supported for embeddings only, not for {name}")
        elif isinstance(scheme, Scheme) and (problem := _misfit(name, layer, scheme.weights)):
            raise RecipeError(problem)
        elif isinstance(scheme, Scheme) and scheme.dynamic and isinstance(layer, nn.Conv2d):
            left[name] = "ranges of each batch are for matrix products only"
        elif isinstance(scheme, Scheme):
            chosen[name] = scheme
        else:
            left[name] = scheme
    return chosen, left


def _misfit(name: str, layer: nn.Module, spec: QuantSpec | None) -> str | None:
    """Why groups do not fit a layer's weight, None if they do."""
    if spec is None or spec.group is None or isinstance(layer, nn.Embedding):
        return None
    if not isinstance(layer, nn.Linear):
        return (
            f"{name}: groups of weights share scales in Linear layers only; give it strategy channel, or leave it float"
        )
    if layer.in_features % spec.group:
        fits = [size for size in (16, 32, 64, 128, 256) if layer.in_features % size == 0]
        choices = f"group_size {', '.join(map(str, fits))} would fit" if fits else "strategy channel fits"
        return f"{name}: its {layer.in_features} inputs are no multiple of group_size {spec.group}: {choices}"
    return None


def _tied(layers: dict[str, nn.Module]) -> set[int]:
    """Weights that stand in several layers: one integer tensor cannot serve two of them."""
    seen: set[int] = set()
    twice: set[int] = set()
    for layer in layers.values():
        (twice if id(layer.weight) in seen else seen).add(id(layer.weight))
    return twice


def _swap(
    chosen: dict[str, Scheme], layers: dict[str, nn.Module], seen: Trace, flows: dict[str, Flow], maker: _Maker
) -> None:
    shared: dict[object, FakeQuant] = {}
    # of layers that share an input the first to be called owns its range: the others find it observed
    for name in dict.fromkeys(name for name in (*seen.inputs, *flows, *chosen) if name in chosen):
        layer, scheme = layers[name], chosen[name]
        if isinstance(layer, QLayer):
            continue
        if isinstance(layer, nn.Embedding):
            swap_class(layer, _embedding_spec(scheme.weights), None, learned=maker.learned)
            continue
        inputs = seen.inputs.get(name, ())
        source = inputs or (flows[name].source if name in flows else None)
        key = (source, scheme.inputs) if source else name
        mine = shared.get(key)
        if mine is None and scheme.inputs is not None:
            shared[key] = maker.activation(layer, scheme.inputs, widen=len(set(inputs)) > 1)
        weights = scheme.weights or WEIGHT_PER_TENSOR
        swap_class(layer, weights, shared.get(key), owns_input=mine is None, learned=maker.learned)


def _quantize_outputs(
    model: nn.Module, chosen: dict[str, Scheme], selection: Selection, flows: dict[str, Flow], maker: _Maker
) -> tuple[str, ...]:
    done: list[str] = []
    for name, scheme in chosen.items():
        flow = flows.get(name)
        taken = flow is not None and flow.closed and all(_static(chosen.get(r)) for r in flow.readers)
        layer = model.get_submodule(name)
        spec = selection.output_of(scheme, layer, taken)
        if spec is not None:
            tail = name if flow is None else flow.tail
            quantize_output(model.get_submodule(tail), maker.activation(layer, spec))
            done.append(tail)
    return tuple(done)


def _static(scheme: Scheme | None) -> bool:
    """Whether a layer of this scheme has an input quantizer of a fixed range."""
    return scheme is not None and scheme.inputs is not None and not scheme.dynamic


def _embedding_spec(spec: QuantSpec | None) -> QuantSpec:
    affine = spec is not None and not spec.symmetric
    return replace(WEIGHT_AFFINE if affine else WEIGHT_PER_TENSOR, bits=8 if spec is None else spec.bits)


def _forbid_fast_paths(model: nn.Module) -> None:
    """torch's fused encoder layer reads weights directly in eval mode, past any quantizer."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
