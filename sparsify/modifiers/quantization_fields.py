"""What the fields of a QuantizationModifier stand for, and which of their values are refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from sparsify.quantization.observers import MOMENTUM
from sparsify.quantization.qparams import (
    ACTIVATION,
    ACTIVATION_SYMMETRIC,
    WEIGHT,
    WEIGHT_AFFINE,
    WEIGHT_PER_TENSOR,
    QuantSpec,
)
from sparsify.quantization.schemes import DEFAULT, Scheme

LEGACY = frozenset(
    (
        "submodules",
        "exclude_module_types",
        "custom_quantizable_module_types",
        "quantize_embeddings",
        "quantize_linear_activations",
        "quantize_conv_activations",
        "quantize_embedding_activations",
        "exclude_batchnorm",
        "reduce_range",
        "tensorrt",
        "activation_bits",
        "weight_bits",
        "activation_qconfig_kwargs",
        "weight_qconfig_kwargs",
    )
)
SCHEME = frozenset(("scheme", "scheme_overrides", "ignore", "strict"))
_NAMED = {"default": DEFAULT, "deepsparse": DEFAULT, "tensorrt": Scheme(inputs=ACTIVATION_SYMMETRIC)}
_PARTS = ("input_activations", "weights", "output_activations", "target_hardware")
_ARGS = ("num_bits", "symmetric", "strategy", "kwargs")
_QUANTIZABLE = ("Linear", "Conv2d", "Embedding")
_FUSE = ("conv_bn_relus", "no_fuse")
_OBSERVERS = ("minmaxobserver", "movingaverageminmaxobserver")


def check_legacy(fields: Any) -> None:
    """Refuse values that nothing here carries out.

    Raises:
        ValueError: Naming the field, the value and what is possible.
    """
    for name in ("activation_bits", "weight_bits"):
        if getattr(fields, name) != 8:
            raise ValueError(f"{name}: only 8 bits are supported, got {getattr(fields, name)!r}")
    if fields.reduce_range:
        raise ValueError("reduce_range: 7-bit activations are not supported; leave it false")
    if not fields.exclude_batchnorm:
        raise ValueError("exclude_batchnorm: quantizing batch norms is not supported; leave it true")
    others = sorted(set(fields.custom_quantizable_module_types or ()).difference(_QUANTIZABLE))
    if others:
        raise ValueError(f"custom_quantizable_module_types: {others[0]} is not one of {', '.join(_QUANTIZABLE)}")
    if fields.model_fuse_fn_name not in (None, *_FUSE) or fields.model_fuse_fn_kwargs:
        what = fields.model_fuse_fn_kwargs or fields.model_fuse_fn_name
        raise ValueError(f"model_fuse_fn_name: only {' or '.join(_FUSE)} without arguments, got {what!r}")
    _check_observer("weight_qconfig_kwargs", fields.weight_qconfig_kwargs, ())
    _check_observer("activation_qconfig_kwargs", fields.activation_qconfig_kwargs, ("averaging_constant",))


def momentum_of(kwargs: Mapping[str, Any] | None) -> float:
    """Weight of one batch in the moving average of ranges."""
    return float((kwargs or {}).get("averaging_constant", MOMENTUM))


def scheme_of(value: str | Mapping[str, Any] | None) -> Scheme:
    """A scheme from its name or its parts; a part that is left out takes its default.

    Raises:
        ValueError: An unknown name or key, or a format that is not supported.
    """
    if value is None:
        return DEFAULT
    if isinstance(value, str):
        if value not in _NAMED:
            raise ValueError(f"scheme: no scheme is called {value!r}{_nearest(value, _NAMED)}")
        return _NAMED[value]
    _check_keys("scheme", value, _PARTS)
    if not _absent(value.get("output_activations")):
        raise ValueError("output_activations: outputs are never quantized here, inputs are; set it to null")
    inputs, weights = value.get("input_activations", {}), value.get("weights", {})
    return Scheme(
        None if _absent(inputs) else _activation(inputs),
        None if _absent(weights) else _weight(weights),
    )


def overrides_of(value: Mapping[str, Any]) -> dict[str, Scheme | None]:
    """Schemes by module name or class; null leaves the module float."""
    try:
        return {name: None if _absent(part) else scheme_of(part) for name, part in value.items()}
    except ValueError as error:
        raise ValueError(f"scheme_overrides: {error}") from None


def _activation(args: Any) -> QuantSpec:
    symmetric, strategy = _format("input_activations", args, symmetric=False)
    if strategy != "tensor":
        raise ValueError(f"input_activations: only the strategy 'tensor' is supported, got {strategy!r}")
    return ACTIVATION_SYMMETRIC if symmetric else ACTIVATION


def _weight(args: Any) -> QuantSpec:
    symmetric, strategy = _format("weights", args, symmetric=True)
    if not symmetric:
        return WEIGHT_AFFINE
    return WEIGHT if strategy is None or strategy == "channel" else WEIGHT_PER_TENSOR


def _format(part: str, args: Any, *, symmetric: bool) -> tuple[bool, str | None]:
    if not isinstance(args, Mapping):
        raise ValueError(f"{part}: give num_bits, symmetric, strategy, or null, got {args!r}")
    _check_keys(part, args, _ARGS)
    if args.get("num_bits", 8) != 8:
        raise ValueError(f"{part}: only num_bits 8 is supported, got {args['num_bits']!r}")
    if args.get("kwargs"):
        raise ValueError(f"{part}: kwargs of an observer are not supported, got {args['kwargs']!r}")
    strategy = args.get("strategy", "tensor" if part == "input_activations" else None)
    if strategy not in (None, "tensor", "channel"):
        raise ValueError(f"{part}: strategy must be 'tensor' or 'channel', got {strategy!r}")
    return bool(args.get("symmetric", symmetric)), strategy


def _check_observer(field: str, kwargs: Mapping[str, Any] | None, extra: tuple[str, ...]) -> None:
    for key, value in (kwargs or {}).items():
        known = str(value).lower() in _OBSERVERS if key == "observer" else key in extra
        if not known:
            raise ValueError(f"{field}: {key}: {value!r} is not supported; ranges are min/max")


def _check_keys(part: str, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            raise ValueError(f"{part} has no {key!r}{_nearest(str(key), known)}")


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": it takes {', '.join(known)}"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in ("none", "null"))
