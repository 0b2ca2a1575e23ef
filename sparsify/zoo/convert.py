"""Pickled weights of old entries, made safetensors in the cache. No code of the file is run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.errors import ZooError, reason
from sparsify.zoo import cache
from sparsify.zoo.layout import OLD_WEIGHTS, WEIGHTS, is_old_weights
from sparsify.zoo.manifest import digest

if TYPE_CHECKING:
    from torch import Tensor

_INDEX = f"{OLD_WEIGHTS}.index.json"
_WEIGHTS = re.compile(r"model[^/]*\.safetensors")
"""Names that a loader takes for the weights before it looks for pickled ones."""


def converted(folder: Path, files: list[Path], cache_folder: Path) -> Path:
    """A model folder whose weights are safetensors: ``folder`` itself, or a copy in the cache.

    Args:
        folder: The model folder.
        files: Its files.
        cache_folder: Where the copy goes; made once for the same bytes.

    Returns:
        A folder that holds no pickles but those that loaders ignore.

    Raises:
        ZooError: The weights are damaged, or hold anything but tensors.
    """
    old = sorted(path for path in files if path.parent == folder and is_old_weights(path.name))
    if not old or any(path.parent == folder and _WEIGHTS.fullmatch(path.name) for path in files):
        return folder
    others = [path for path in files if path.parent == folder and path not in old and path.name != _INDEX]
    key = json.dumps([[(path.name, digest(path)) for path in sorted(paths)] for paths in (old, others)])
    target = cache_folder / "converted" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if target.is_dir():
        return target
    with cache.locked(target), cache.told(target):
        if not target.is_dir():
            _convert(old, others, target)
    return target


def _convert(old: list[Path], others: list[Path], target: Path) -> None:
    from safetensors.torch import save_file

    stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
    try:
        tensors: dict[str, Tensor] = {}
        for path in old:
            tensors |= read_pickled(path)
        save_file(tensors, stage / WEIGHTS, metadata={"format": "pt"})
        for path in others:
            if not path.name.endswith((".py", ".pt", ".bin", ".pkl")):
                shutil.copyfile(path, stage / path.name)
        (stage / "converted.json").write_text(
            json.dumps({"from": [p.name for p in old], "sha256": [digest(p) for p in old]})
        )
        os.chmod(stage, 0o777 & ~cache.umask())
        os.replace(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Tensors of a pickled state dict, each with memory of its own.

    Raises:
        ZooError: Damaged, or with anything in it but names and dense tensors.
    """
    import torch

    try:
        raw: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader of pickles meets damaged ones with errors of any kind
        raise ZooError(
            f"{path}: not read: only plain tensors are taken from pickled weights ({reason(error)[:200]})"
        ) from error
    state = raw.get("state_dict", raw) if isinstance(raw, dict) else raw
    if not isinstance(state, dict) or not state:
        raise ZooError(f"{path}: holds no state dict but {type(raw).__name__}")
    wrong = next((n for n, t in state.items() if not isinstance(n, str) or not isinstance(t, torch.Tensor)), None)
    if wrong is not None:
        raise ZooError(f"{path}: {str(wrong)[:80]!r} is no tensor; weights hold tensors only")
    odd = next((name for name, tensor in state.items() if not _storable(tensor)), None)
    if odd is not None:
        kind = "quantized" if state[odd].is_quantized else f"{state[odd].layout}".removeprefix("torch.")
        raise ZooError(
            f"{path}: {odd[:80]!r} is a {kind} {state[odd].dtype} tensor on {state[odd].device.type}, which safetensors"
            " does not hold; save it dense, in a number format of its own, and publish that"
        )
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _storable(tensor: Tensor) -> bool:
    import torch
    from safetensors.torch import save

    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    try:
        save({"": torch.empty(0, dtype=tensor.dtype)})
    except (LookupError, ValueError):
        return False
    return True
