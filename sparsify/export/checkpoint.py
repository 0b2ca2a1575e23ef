"""Model folders: weights in safetensors, the recipe beside them, and a loader that re-creates what the recipe built."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sparsify.errors import InputError, StateError, reason
from sparsify.export.compressed import read_compressed, weight_files
from sparsify.export.pretrained import FAILURES, architecture_of, model_class, read_pretrained_config
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
        InputError: The folder lacks something, or its weights cannot be read or are not those of its config.
        StateError: The recipe quantizes, and the weights hold other quantizers or none.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    config = config or read_pretrained_config(folder)
    if task_class is None:
        cls = model_class(architecture_of(config), f"{folder}/config.json")
    else:
        cls = model_class(task_class, "task_class")
    state, foreign = read_compressed(folder), read_sparseml(folder)
    saved = _quantizer_tensors(folder) if state is None else of_quantizers(state)
    weights = foreign.state if foreign else state
    model, info = _pretrained(cls, folder, config, weights)
    if _without_pooler(cls, info["missing_keys"]):
        model, info = _pretrained(cls, folder, config, weights, add_pooling_layer=False)
    if foreign:
        check_complete(folder, foreign, info["missing_keys"], info["unexpected_keys"])
    if has_recipe(folder):
        load_recipe(folder / RECIPE_FILE, distillation=False).apply_structure(model)
    if task_class is None:
        _check_whole(model, info["missing_keys"], folder)
    if has_recipe(folder) and foreign:
        restore_ranges(model, foreign, folder)
    elif has_recipe(folder):
        _restore_quantizers(model, saved, folder)
    return model.eval()


def _pretrained(
    cls: Any, folder: Path, config: Any, state: dict[str, Tensor] | None, **made_with: Any
) -> tuple[nn.Module, dict[str, Any]]:
    options = {"config": config, "dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # told below, by name
    name = folder if state is None else None
    model: nn.Module
    try:
        with quiet_transformers():
            model, info = shaped(cls, config).from_pretrained(name, state_dict=state, **options, **made_with)
    except FAILURES as error:
        raise InputError(f"{folder}: cannot load the weights ({reason(error)})") from error
    if wrong := sorted(info["mismatched_keys"]):
        name, there, wanted = wrong[0]
        raise InputError(
            f"{folder}: {len(wrong)} of its weights have another shape than config.json gives them, {name} first:"
            f" {list(there)}, not {list(wanted)}. Are both files of one model?"
        )
    model.__class__ = cls
    return model, info


def _without_pooler(cls: Any, missing: Iterable[str]) -> bool:
    """Whether all that the weights lack is a pooler that the class makes on request: config.json does not say."""
    absent = [name.split(".")[0] for name in missing]
    return set(absent) == {"pooler"} and "add_pooling_layer" in inspect.signature(cls).parameters


def _check_whole(model: nn.Module, missing: Iterable[str], folder: Path) -> None:
    """Refuse weights that would start from random values; layers that the recipe took out need none."""
    absent = sorted(set(missing) & model.state_dict().keys())
    if absent:
        raise InputError(
            f"{folder}: its weights lack {len(absent)} tensors of {type(model).__name__}, {absent[0]} first: they are"
            " incomplete, or its config.json is of another model"
        )


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
    for file in weight_files(folder):
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
    own = model.state_dict()
    if wrong := sorted(name for name in wanted if saved[name].shape != own[name].shape):
        raise StateError(
            f"{folder}: {wrong[0]} has the shape {list(saved[wrong[0]].shape)}, its recipe asks for"
            f" {list(own[wrong[0]].shape)}: was the recipe changed after training?"
        )
    _check_scales({name: saved[name] for name in wanted if name.endswith(".scale")}, folder)
    model.load_state_dict({name: saved[name] for name in wanted}, strict=False)
    enable_calibrated(model)


def _check_scales(scales: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse what no range gives: 0 everywhere is a quantizer that never saw one, any other is above 0."""
    bad = sorted(name for name, s in scales.items() if s.any() and not (torch.isfinite(s) & (s > 0)).all())
    if bad:
        layer, _, quantizer = bad[0].removesuffix(".scale").rpartition(".")
        values = scales[bad[0]].float().flatten()
        value = values[~(torch.isfinite(values) & (values > 0))][0]
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise InputError(
            f"{folder}: {layer}: the scale of its {quantizer} is {value:g}, no number above 0{others}: the weights are"
            " damaged, or training diverged"
        )
