"""Training state on disk: nested dicts of tensors and JSON values in one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparsify.errors import StateError, system_errno

STATE_FILE = "sparsify_state.safetensors"
_TENSOR = "__tensor__"


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, flush it to disk, then rename it into place.

    Raises:
        OSError: The disk is full or the like, also where safetensors wrote (which has an error of its own for it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            write(temporary)
        except SafetensorError as error:
            raise _of_system(error, path) from error
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _of_system(error: SafetensorError, path: Path) -> Exception:
    """The operating system's error that is behind one of safetensors', where there is one."""
    code = system_errno(error)
    return error if code is None else OSError(code, os.strerror(code), str(path))


def write_state(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a nested dict (str keys; tensors, JSON scalars, lists, dicts) to ``path`` as safetensors."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(tree, tensors))
    if not tensors:
        tensors["empty"] = torch.zeros(1)
    atomic_write(path, lambda temporary: save_file(tensors, temporary, metadata={"tree": skeleton}))


def read_state(path: Path) -> dict[str, Any]:
    """Read what ``write_state`` wrote.

    Raises:
        StateError: The file is missing, cut short, or not ours.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            skeleton = json.loads((stream.metadata() or {})["tree"])
            tree: dict[str, Any] = _unpack(skeleton, stream.get_tensor)
            return tree
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise StateError(f"{path}: cannot read the recipe's training state ({error})") from error


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {str(k): _pack(v, tensors) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v, tensors) for v in value]
    return value


def _unpack(value: Any, tensor: Callable[[str], Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensor(value[_TENSOR])
        return {k: _unpack(v, tensor) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, tensor) for v in value]
    return value
