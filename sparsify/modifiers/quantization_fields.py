"""What the fields of a QuantizationModifier stand for, and which of their values are not built yet."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sparsify.modifiers.base import boolean
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
SCHEME = frozenset(("scheme", "scheme_overrides", "ignore", "strict", "config_groups"))
_NAMED = {"default": DEFAULT, "deepsparse": DEFAULT, "tensorrt": Scheme(inputs=ACTIVATION_SYMMETRIC)}
_PARTS = ("input_activations", "weights", "output_activations", "target_hardware")
_ARGS = ("num_bits", "symmetric", "strategy", "group_size", "kwargs")
_QUANTIZABLE = ("Linear", "Conv2d", "Embedding")
_FUSE = ("conv_bn_relus", "no_fuse")
_TARGETS = ("default", "deepsparse", "tensorrt")
_REDUCED = 7  # bits of weights whose products with uint8, added in pairs, never leave 16 bits
BITS = range(2, 9)
"""Widths of integers that are built."""
_OBSERVERS = ("minmaxobserver", "movingaverageminmaxobserver")


def check_legacy(fields: Any, missing: list[str]) -> None:
    """Look at the fields that name no scheme; values that nothing here carries out yet are added to ``missing``.

    Raises:
        ValueError: Naming the field, the value and what is possible.
    """
    for name in ("activation_bits", "weight_bits"):
        bits = getattr(fields, name)
        if bits is not None and not 1 <= bits <= 16:
            raise ValueError(f"{name}: 1 to 16 bits, got {bits!r}")
        if bits not in BITS and (bits, name) != (None, "activation_bits"):
            missing.append(f"{name} {bits!r}")
    if not fields.exclude_batchnorm:
        missing.append("exclude_batchnorm false")
    excluded = {*(fields.exclude_module_types or ()), *_QUANTIZABLE}
    if others := sorted(set(fields.custom_quantizable_module_types or ()) - excluded):
        missing.append(f"custom_quantizable_module_types {', '.join(others)}")
    if fields.model_fuse_fn_name not in (None, *_FUSE) or fields.model_fuse_fn_kwargs:
        missing.append(f"model_fuse_fn_name {fields.model_fuse_fn_name}{fields.model_fuse_fn_kwargs or ''}")
    _check_observer("weight_qconfig_kwargs", fields.weight_qconfig_kwargs, (), missing)
    _check_observer("activation_qconfig_kwargs", fields.activation_qconfig_kwargs, ("averaging_constant",), missing)


def momentum_of(kwargs: Mapping[str, Any] | None) -> float:
    """Weight of one batch in the moving average of ranges."""
    return float((kwargs or {}).get("averaging_constant", MOMENTUM))


def legacy_scheme(fields: Any) -> Scheme:
    """The scheme that the fields which name none stand for."""
    scheme = _NAMED["tensorrt" if fields.tensorrt else "default"]
    bits = min(fields.weight_bits or 8, _REDUCED) if fields.reduce_range else fields.weight_bits
    weights = scheme.weights and sized(scheme.weights, bits)
    inputs = scheme.inputs and sized(scheme.inputs, fields.activation_bits)
    return replace(scheme, weights=weights, inputs=None if fields.activation_bits is None else inputs)


def sized(spec: QuantSpec, bits: int | None) -> QuantSpec:
    """``spec`` in so many bits; in 8 where such a width is not built, which is told elsewhere."""
    return replace(spec, bits=bits if bits is not None and bits in BITS else 8)


def scheme_of(value: str | Mapping[str, Any] | None, missing: list[str]) -> Scheme:
    """A scheme from its name or its parts; a part that is left out takes its default.

    Args:
        value: The field's value.
        missing: Gets what of it is not built yet.

    Raises:
        ValueError: An unknown name or key, or a value that no format has.
    """
    if value is None:
        return DEFAULT
    if isinstance(value, str):
        if value not in _NAMED:
            raise ValueError(f"scheme: no scheme is called {value!r}{_nearest(value, _NAMED)}")
        return _NAMED[value]
    if not isinstance(value, Mapping):
        raise ValueError(f"scheme: a name, or a mapping of {', '.join(_PARTS)}, got {value!r}")
    _check_keys("scheme", value, _PARTS)
    inputs, weights, outputs = (value.get(part, None if part == "output_activations" else {}) for part in _PARTS[:3])
    target = _target(value.get("target_hardware"))
    return Scheme(
        None if _absent(inputs) else _activation("input_activations", inputs, target, missing),
        None if _absent(weights) else _weight(weights, missing),
        None if _absent(outputs) else _activation("output_activations", outputs, target, missing),
    )


def _target(value: Any) -> str:
    if _absent(value):
        return "default"
    if value not in _TARGETS:
        raise ValueError(f"target_hardware: no target is called {value!r}{_nearest(str(value), _TARGETS)}")
    return str(value)


def overrides_of(value: Mapping[str, Any], missing: list[str]) -> dict[str, Scheme | None]:
    """Schemes by module name or class; null leaves the module float."""
    try:
        return {name: None if _absent(part) else scheme_of(part, missing) for name, part in value.items()}
    except ValueError as error:
        raise ValueError(f"scheme_overrides: {error}") from None


def _activation(part: str, args: Any, target: str, missing: list[str]) -> QuantSpec:
    found = _format(part, args, missing, symmetric=target == "tensorrt")
    if found.strategy == "channel":
        missing.append(f"{part}: strategy 'channel'")
    if target == "tensorrt" and not found.symmetric:
        raise ValueError(f"{part}: TensorRT takes symmetric activations only, got symmetric: false")
    return sized(ACTIVATION_SYMMETRIC if found.symmetric else ACTIVATION, found.bits)


def _weight(args: Any, missing: list[str]) -> QuantSpec:
    found = _format("weights", args, missing, symmetric=True)
    if not found.symmetric:
        return sized(WEIGHT_AFFINE, found.bits)
    spec = sized(WEIGHT_PER_TENSOR if found.strategy == "tensor" else WEIGHT, found.bits)
    return replace(spec, group=found.group)


@dataclass(frozen=True, slots=True)
class _Format:
    symmetric: bool
    strategy: str | None
    bits: int
    group: int | None


def _format(part: str, args: Any, missing: list[str], *, symmetric: bool) -> _Format:
    if not isinstance(args, Mapping):
        raise ValueError(f"{part}: give num_bits, symmetric, strategy, or null, got {args!r}")
    _check_keys(part, args, _ARGS)
    bits = args.get("num_bits", 8)
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 16:
        raise ValueError(f"{part}: num_bits is a whole number from 1 to 16, got {bits!r}")
    if bits not in BITS:
        missing.append(f"{part}: num_bits {bits}")
    if args.get("kwargs"):
        missing.append(f"{part}: kwargs {args['kwargs']!r} of an observer")
    strategy = args.get("strategy")
    if strategy not in (None, "tensor", "channel", "group"):
        raise ValueError(f"{part}: strategy must be 'tensor', 'channel' or 'group', got {strategy!r}")
    symmetric = _symmetric(part, args.get("symmetric"), symmetric)
    return _Format(symmetric, strategy, bits, _group(part, args.get("group_size"), strategy, symmetric))


def _symmetric(part: str, value: Any, default: bool) -> bool:
    try:
        found = default if _absent(value) else boolean(value)
    except ValueError as error:
        raise ValueError(f"{part}: symmetric: {error}") from None
    if not isinstance(found, bool):
        raise ValueError(f"{part}: symmetric is true or false, got {value!r}")
    return found


def _group(part: str, size: Any, strategy: str | None, symmetric: bool) -> int | None:
    if size is None and strategy != "group":
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{part}: group_size is a whole number above 0, got {size!r}")
    if strategy != "group" or part != "weights" or not symmetric:
        raise ValueError(f"{part}: group_size belongs to symmetric weights with strategy: group")
    return size


def _check_observer(field: str, kwargs: Mapping[str, Any] | None, extra: tuple[str, ...], missing: list[str]) -> None:
    for key, value in (kwargs or {}).items():
        known = str(value).lower() in _OBSERVERS if key == "observer" else key in extra
        if not known:
            missing.append(f"{field}: {key} {value!r}")


def _check_keys(part: str, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            raise ValueError(f"{part} has no {key!r}{_nearest(str(key), known)}")


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": it takes {', '.join(known)}"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in ("none", "null"))
