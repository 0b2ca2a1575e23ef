"""Weights stored small: integers where a layer is quantized, and where many are zero a bitmask with the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sparsify.errors import InputError
from sparsify.pruning.bitmask import PARTS, pack, packed_bytes, unpack
from sparsify.quantization.fake_quant import WeightQuant
from sparsify.quantization.layers import QLayer
from sparsify.quantization.qparams import QuantSpec, dequantize, quantize
from sparsify.state import atomic_write

COMPRESSED = "model.compressed.safetensors"
"""Not ``model.safetensors``: plain transformers would take what it does not know for missing, and make it up."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_METADATA = {"format": "pt", "layout": "sparse-bitmask", "written_by": "sparsify"}
_WEIGHT = ".weight"
_QUANTIZER = ".weight_fq"


@dataclass(frozen=True, slots=True)
class Saved:
    """What compression came to, in bytes.

    Attributes:
        weights: The file.
        dense: All floating point weights of it at four bytes each, without quantizers' scales.
        sparse: Of the weights stored with a bitmask.
        dense_sparse: These at four bytes each.
    """

    weights: int
    dense: int
    sparse: int
    dense_sparse: int

    def __str__(self) -> str:
        sparse = f" (the sparse ones {self.sparse / self.dense_sparse:.1%})" if self.dense_sparse else ""
        return f"weights stored in {self.weights:,} bytes, {self.weights / self.dense:.1%} of fp32{sparse}"


def save_compressed(model: nn.Module, directory: str | Path) -> Saved:
    """Save a transformers model with its weights stored small; ``load_model`` reads the folder.

    What the model computes stays the same, bit for bit. Of quantized layers the integers are kept, and so the floats
    between them are lost: train on from a folder that is not compressed. Give the folder the recipe too
    (``manager.record.save(folder / "recipe.yaml")``), as always.

    Args:
        model: With its quantizers frozen.
        directory: Folder to write into.
    """
    model.save_pretrained(directory)  # type: ignore[operator]
    return compress(Path(directory), model)


def compress(folder: Path, model: nn.Module) -> Saved:
    """Store the weights of a folder that ``model.save_pretrained`` has written small, in place.

    Raises:
        InputError: The folder has no weights.
    """
    files = weight_files(folder)
    if not files:
        raise InputError(f"{folder}: has no {WEIGHTS} to compress")
    state = {name: tensor for file in files for name, tensor in load_file(file).items()}
    layers = {name: m for name, m in model.named_modules() if isinstance(m, QLayer)}
    out: dict[str, Tensor] = {}
    sparse = dense_sparse = 0
    for name, tensor in state.items():
        layer = layers.get(name.removesuffix(_WEIGHT)) if name.endswith(_WEIGHT) else None
        kept = _integers(tensor, layer.weight_fq) if layer is not None else None
        stored = _stored(name, tensor if kept is None else kept)
        out |= stored
        if name not in stored:
            sparse += _bytes(stored.values())
            dense_sparse += 4 * tensor.numel()
    atomic_write(folder / COMPRESSED, lambda path: save_file(_own(out), path, metadata=_METADATA))
    for file in (folder / INDEX, *files):  # an index without its files would make the folder unreadable
        file.unlink(missing_ok=True)
    own = [t for name, t in state.items() if not _is_of_quantizer(name)]
    dense = sum(4 * t.numel() for t in own if t.is_floating_point())
    return Saved((folder / COMPRESSED).stat().st_size, dense, sparse, dense_sparse)


@torch.no_grad()
def onto_grid(model: nn.Module) -> None:
    """Round quantized weights to what is stored of them, in place: the model computes the same as before."""
    for layer in model.modules():
        if isinstance(layer, QLayer) and (levels := _integers(layer.weight.cpu(), layer.weight_fq)) is not None:
            quantizer = layer.weight_fq
            layer.weight.copy_(dequantize(levels, quantizer.scale.cpu(), quantizer.zero_point.cpu(), quantizer.spec))


def read_compressed(folder: Path) -> dict[str, Tensor] | None:
    """The weights of a compressed folder as floats, quantizers' tensors among them; None where it is not compressed.

    Raises:
        InputError: The file is damaged.
    """
    file = folder / COMPRESSED
    if weight_files(folder) or not file.is_file():
        return None
    try:
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: the weights are corrupt ({error})") from error
    masked = {name.removesuffix(f".{PARTS[1]}") for name in state if name.endswith(f".{PARTS[1]}")}
    for name in sorted(masked):
        try:
            state[name + _WEIGHT] = unpack({part: state.pop(f"{name}.{part}") for part in PARTS})
        except (KeyError, ValueError) as error:
            raise InputError(f"{file}: {name} cannot be unpacked: {error}") from error
    for name, tensor in list(state.items()):
        if tensor.dtype in (torch.int8, torch.uint8) and name.endswith(_WEIGHT):
            state[name] = _floats(tensor, name.removesuffix(_WEIGHT), state, file)
    return state


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads a folder's weights from; none where there are no such.

    An index beside a whole file is of an earlier model, which transformers does not remove.

    Raises:
        InputError: The index is damaged, or names files that are not there.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    files = [folder / name for name in _indexed(folder / INDEX)]
    if absent := [file.name for file in files if not file.is_file()]:
        raise InputError(
            f"{folder}: {len(absent)} of the {len(files)} files of its weights are missing, {absent[0]} first"
        )
    return files


def _indexed(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(Path(name).name for name in named)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{index}: is no index of weights ({type(error).__name__}: {error})") from error


def _integers(weight: Tensor, quantizer: WeightQuant) -> Tensor | None:
    """The integers that stand for a weight; None where it is float, or where they would not give the same again."""
    if not (quantizer.enabled and quantizer.calibrated):
        return None
    scale, zero, spec = quantizer.scale.cpu(), quantizer.zero_point.cpu(), quantizer.spec
    levels = quantize(weight, scale, zero, spec)
    again = dequantize(levels, scale, zero, spec)
    return levels if torch.equal(quantize(again, scale, zero, spec), levels) else None


def _stored(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A tensor under its name, or in parts where that is smaller."""
    whole = tensor.numel() * tensor.element_size()
    if not name.endswith(_WEIGHT) or tensor.ndim < 2 or packed_bytes(tensor) >= whole:
        return {name: tensor}
    return {f"{name.removesuffix(_WEIGHT)}.{part}": value for part, value in pack(tensor).items()}


def _floats(levels: Tensor, layer: str, state: Mapping[str, Tensor], file: Path) -> Tensor:
    parts = [state.get(f"{layer}{_QUANTIZER}.{part}") for part in ("scale", "zero_point")]
    if parts[0] is None or parts[1] is None:
        raise InputError(f"{file}: {layer}{_WEIGHT} is stored as integers, but their scale is missing")
    scale, zero = parts[0], parts[1]
    axis, group = 0 if scale.ndim else None, levels.shape[1] // scale.shape[1] if scale.ndim == 2 else None
    spec = QuantSpec(levels.dtype == torch.int8, symmetric=False, axis=axis, group=group)
    return dequantize(levels, scale, zero, spec)


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _is_of_quantizer(name: str) -> bool:
    return name.endswith((".scale", ".zero_point")) and "_fq" in name
