"""Scales, zero points and integers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsify.quantization.qparams import (
    ACTIVATION,
    ACTIVATION_SYMMETRIC,
    WEIGHT,
    WEIGHT_AFFINE,
    WEIGHT_PER_TENSOR,
    QuantSpec,
    dequantize,
    from_range,
    quantize,
)

SPECS = [ACTIVATION, ACTIVATION_SYMMETRIC, WEIGHT_PER_TENSOR, WEIGHT_AFFINE]
reals = st.floats(-1e4, 1e4, width=32)


@settings(deadline=None)
@given(st.lists(reals, min_size=1, max_size=40), st.sampled_from(SPECS))
def test_values_in_range_come_back_within_half_a_step(values: list[float], spec: QuantSpec) -> None:
    tensor = torch.tensor(values)
    scale, zero = from_range(tensor.min(), tensor.max(), spec)
    back = dequantize(quantize(tensor, scale, zero, spec), scale, zero, spec)
    # Moving the zero point to a whole number costs up to another half step at the ends.
    steps = 0.5 if spec.symmetric else 1.0
    assert float((back - tensor).abs().max()) <= steps * float(scale) * 1.001 + 1e-6


@settings(deadline=None)
@given(reals, reals, st.sampled_from(SPECS))
def test_zero_is_exact(a: float, b: float, spec: QuantSpec) -> None:
    scale, zero = from_range(torch.tensor(min(a, b)), torch.tensor(max(a, b)), spec)
    levels = quantize(torch.zeros(3), scale, zero, spec)
    assert dequantize(levels, scale, zero, spec).tolist() == [0.0, 0.0, 0.0]
    assert float(scale) > 0
    assert spec.qmin <= int(zero) <= spec.qmax


def test_weights_never_use_the_lowest_integer() -> None:
    weight = torch.tensor([[-1.0, 0.5], [2.0, -2.0]])
    scale, zero = from_range(weight.amin(1), weight.amax(1), WEIGHT)
    assert quantize(weight, scale, zero, WEIGHT).tolist() == [[-127, 64], [127, -127]]
    assert quantize(weight * 9, scale, zero, WEIGHT).min() == -127


@pytest.mark.parametrize(("spec", "dtype"), [(ACTIVATION, torch.uint8), (WEIGHT, torch.int8)])
def test_storage_type(spec: QuantSpec, dtype: torch.dtype) -> None:
    ones = torch.ones(2)
    assert quantize(torch.rand(2, 2), ones, torch.zeros(2), spec if spec.axis == 0 else ACTIVATION).dtype == dtype


@pytest.mark.parametrize("bits", range(2, 9))
def test_limits_of_every_width(bits: int) -> None:
    unsigned, signed = QuantSpec(False, False, bits=bits), QuantSpec(True, True, bits=bits)
    assert (unsigned.qmin, unsigned.qmax) == (0, 2**bits - 1)
    assert (signed.qmin, signed.qmax) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert replace(signed, narrow=True).qmin == -signed.qmax
