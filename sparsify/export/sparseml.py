"""Checkpoints that SparseML's quantization-aware training left: names of its wrapped modules to those of the model."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.export.compressed import weight_files
from sparsify.export.pretrained import FAILURES
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.layers import QLayer, enable_calibrated, quantizers, set_observing

logger = logging.getLogger(__name__)
OLD_WEIGHTS = "pytorch_model.bin"
_WRAPPED = re.compile(r"(.+)\.module\.(weight|bias)")
_OBSERVER = re.compile(r"(?:.+\.)?(?:weight_fake_quant|activation_post_process|(?:input|output)_quant_stubs)\..+")
_INPUT = re.compile(r"(.+)\.quant\.activation_post_process\.(scale|zero_point|fake_quant_enabled)")
_CONVERTED = re.compile(r".+\._packed_params(\..+)?")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Foreign:
    """What such a checkpoint holds.

    Attributes:
        state: Weights under the model's own names.
        inputs: ``scale``, ``zero_point`` and ``fake_quant_enabled`` of the inputs of layers, by layer.
        names: Our name of each weight to the file's, where they differ.
    """

    state: dict[str, Tensor]
    inputs: dict[str, dict[str, Tensor]]
    names: dict[str, str]


def read_sparseml(folder: Path) -> Foreign | None:
    """The weights of a folder that SparseML's quantization-aware training wrote; None for any other folder.

    Raises:
        InputError: The file cannot be read, or holds modules that torch had converted to its own int8 kernels.
    """
    state = _state(folder)
    if state is None:
        return None
    if converted := [name for name in state if _CONVERTED.fullmatch(name)]:
        raise InputError(
            f"{folder}: {_listed(converted)} is a weight packed for torch's int8 kernels, which nothing but these reads:"
            " take the checkpoint from before the conversion (SparseML's training folder, not its converted model)"
        )
    found, names, inputs = dict[str, Tensor](), dict[str, str](), dict[str, dict[str, Tensor]]()
    for name, tensor in state.items():
        if match := _INPUT.fullmatch(name):
            inputs.setdefault(match[1], {})[match[2]] = tensor
        if _OBSERVER.fullmatch(name):
            continue
        plain = _WRAPPED.sub(r"\1.\2", name)
        if plain in found:
            raise InputError(f"{folder}: {name} and {names.get(plain, plain)} are two values of one weight, {plain}")
        found[plain] = tensor
        if plain != name:
            names[plain] = name
    return Foreign(found, inputs, names)


def check_complete(folder: Path, foreign: Foreign, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Refuse weights that would start from random values, and those that have no place.

    Raises:
        InputError: Names the keys, and what about them is wrong.
    """
    problems = []
    if absent := sorted(missing):
        problems.append(f"{_listed(absent)}: not in the file, though the model has it")
    if left := sorted(foreign.names.get(name, name) for name in unexpected):
        problems.append(
            f"{_listed(left)}: in the file, though the model has no such weight, and no observer of SparseML's"
        )
    if problems:
        raise InputError(
            f"{folder}: a checkpoint of SparseML's quantization whose keys do not fit: {'; '.join(problems)}"
        )


def restore_ranges(model: nn.Module, foreign: Foreign, folder: Path) -> None:
    """Give quantizers the ranges that SparseML found for inputs of layers; those of weights are taken from the weights.

    What it had no observer for (attention's products, in most of its models) stays float.

    Raises:
        InputError: A range that our formats do not have.
    """
    set_observing(model, True)
    set_observing(model, False)
    for name, layer in model.named_modules():
        quantizer = getattr(layer, "input_fq", None) if isinstance(layer, QLayer) else None
        if isinstance(quantizer, ActivationQuant) and getattr(layer, "owns_input", False):
            _set_range(quantizer, name, foreign.inputs.get(name, {}), folder)
    enable_calibrated(model)
    off = [name for name, fq in quantizers(model).items() if not fq.calibrated]
    if off:
        logger.warning("%s: no range for %d quantizers, which stay off (%s)", folder, len(off), _listed(off))


def _set_range(quantizer: ActivationQuant, layer: str, saved: Mapping[str, Tensor], folder: Path) -> None:
    enabled = saved.get("fake_quant_enabled")
    if "scale" not in saved or "zero_point" not in saved or (enabled is not None and not enabled.any()):
        return
    scale, zero = saved["scale"].float().reshape(-1), saved["zero_point"].reshape(-1)
    key = f"{layer}.quant.activation_post_process"
    if len(scale) != 1 or not bool(torch.isfinite(scale).all()) or float(scale[0]) <= 0:
        raise InputError(f"{folder}: {key}.scale is no single positive number: {scale.tolist()[:4]}")
    if not quantizer.spec.qmin <= int(zero[0]) <= quantizer.spec.qmax:
        raise InputError(
            f"{folder}: {key}.zero_point is {int(zero[0])}, outside of {quantizer.spec.qmin} to {quantizer.spec.qmax}: its"
            " inputs were quantized in another format than the recipe's; give the recipe a scheme that fits, or leave"
            " recipe.yaml out to load the weights as floats"
        )
    quantizer.scale.copy_(scale[0])
    quantizer.zero_point.copy_(zero[0])


def _state(folder: Path) -> dict[str, Tensor] | None:
    """All tensors of a folder of that kind."""
    files = weight_files(folder)
    try:
        if files:
            names = [name for file in files if file.is_file() for name in _names(file)]
            return {n: t for file in files for n, t in load_file(file).items()} if _is_sparseml(names) else None
        if not (folder / OLD_WEIGHTS).is_file():
            return None
        state: dict[str, Tensor] = torch.load(folder / OLD_WEIGHTS, map_location="cpu", weights_only=True)
    except FAILURES:
        return None  # transformers says what is wrong with them
    return state if isinstance(state, dict) and _is_sparseml(state) else None


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as stream:
        return list(stream.keys())


def _is_sparseml(names: Iterable[str]) -> bool:
    signs = (_WRAPPED, _OBSERVER, _CONVERTED)
    return any(sign.fullmatch(name) for name in names for sign in signs)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
