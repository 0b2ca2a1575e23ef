"""Model folders: weights in safetensors, the recipe beside them, and a loader that re-creates what the recipe built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sparsify.errors import InputError, StateError
from sparsify.export.compressed import read_compressed, weight_files
from sparsify.export.sparseml import check_complete, read_sparseml, restore_ranges
from sparsify.manager import load_recipe
from sparsify.pruning.shrink import apply_widths
from sparsify.pruning.widths import read_widths
from sparsify.quantization.layers import enable_calibrated, quantizers
from sparsify.recipe.source import CHECKPOINT_RECIPE

if TYPE_CHECKING:
    from transformers import PretrainedConfig

RECIPE_FILE = CHECKPOINT_RECIPE


def has_recipe(directory: str | Path) -> bool:
    """Whether a folder is a checkpoint of ours (a recipe lies beside the weights)."""
    return (Path(directory) / RECIPE_FILE).is_file()


def load_model(
    directory: str | Path, *, config: PretrainedConfig | None = None, task_class: str | None = None
) -> nn.Module:
    """Load a model folder in fp32: widths from its config, weights, then quantizers as its recipe says and they were saved.

    Args:
        directory: Folder with config, weights and, for compressed models, ``recipe.yaml``.
        config: Replaces the folder's config (other labels, say).
        task_class: Name of a transformers class; the folder's own architecture by default.

    Returns:
        The model in eval mode.

    Raises:
        InputError: The folder lacks something, or its weights cannot be read.
    """
    import transformers

    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    config = config or _config(folder)
    name = task_class or next(iter(config.architectures or []), None)
    cls = getattr(transformers, name, None) if name else None
    if cls is None:
        raise InputError(f"{folder}/config.json names the architecture {name!r}, which transformers does not have")
    state, foreign = read_compressed(folder), read_sparseml(folder)
    saved = _quantizer_tensors(folder) if state is None else of_quantizers(state)
    model, info = _pretrained(cls, folder, config, foreign.state if foreign else state)
    if foreign:
        check_complete(folder, foreign, info["missing_keys"], info["unexpected_keys"])
    if has_recipe(folder):
        load_recipe(folder / RECIPE_FILE, distillation=False).apply_structure(model)
        if foreign:
            restore_ranges(model, foreign, folder)
        else:
            _restore_quantizers(model, saved, folder)
    return model.eval()


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot read config.json ({str(error).splitlines()[0]})") from error


def _pretrained(
    cls: Any, folder: Path, config: Any, state: dict[str, Tensor] | None
) -> tuple[nn.Module, dict[str, Any]]:
    options = {"config": config, "dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    name = folder if state is None else None
    model: nn.Module
    try:
        with quiet_transformers():
            model, info = shaped(cls, config).from_pretrained(name, state_dict=state, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot load the weights ({str(error).splitlines()[0]})") from error
    model.__class__ = cls
    return model, info


def shaped(cls: Any, config: Any) -> Any:
    """``cls``, or, where ``config`` records widths of its own, a twin whose models are made with these widths.

    So that transformers' own loading (renamed keys, prefixes, ties) meets the shapes that the file has. A model that
    the twin has loaded is given ``cls`` as its class again.
    """
    widths = read_widths(config)
    if not widths:
        return cls

    def make(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, config, *args, **kwargs)
        apply_widths(self, widths, record=False)

    return type(cls.__name__, (cls,), {"__init__": make, "__module__": cls.__module__})


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings or bars from transformers' loading: missing and unexpected tensors are ours to tell or to load."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def _quantizer_tensors(folder: Path) -> dict[str, Tensor]:
    """Tensors of the folder that belong to quantizers, by name."""
    found: dict[str, Tensor] = {}
    for file in filter(Path.is_file, weight_files(folder)):
        try:
            with safe_open(file, framework="pt") as stream:
                found |= {name: stream.get_tensor(name) for name in filter(_of_quantizer, stream.keys())}
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file}: the weights are corrupt ({error})") from error
    return found


def state_to_load(folder: Path) -> dict[str, Tensor] | None:
    """What transformers is to load in place of the folder's files, which it could not read; None: it can.

    Raises:
        InputError: The files are damaged.
    """
    foreign = read_sparseml(folder)
    return foreign.state if foreign else read_compressed(folder)


def of_quantizers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors of a state dict that belong to quantizers."""
    return {name: tensor for name, tensor in state.items() if _of_quantizer(name)}


def _of_quantizer(name: str) -> bool:
    return name.endswith((".scale", ".zero_point"))


def _restore_quantizers(model: nn.Module, saved: dict[str, Tensor], folder: Path) -> None:
    wanted = {f"{name}.{part}" for name in quantizers(model) for part in ("scale", "zero_point")}
    missing = sorted(wanted - set(saved))
    if missing:
        raise StateError(
            f"{folder}: its recipe quantizes, but the weights lack {len(missing)} quantizer tensors, "
            f"{missing[0]} first: were they saved by another recipe?"
        )
    model.load_state_dict({name: saved[name] for name in wanted}, strict=False)
    enable_calibrated(model)
