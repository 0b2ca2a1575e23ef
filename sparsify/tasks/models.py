"""Models and tokenizers from folders, checkpoints of ours, zoo stubs and the Hub."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsify.errors import InputError, reason
from sparsify.export.checkpoint import RECIPE_FILE, load_model, quiet_transformers, shaped, state_to_load
from sparsify.export.pretrained import FAILURES
from sparsify.export.task import Task
from sparsify.pruning.widths import read_widths
from sparsify.tasks import hub
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.composition import readable
from sparsify.tasks.labels import generic
from sparsify.zoo.names import expanded

logger = logging.getLogger(__name__)


def resolve(name: str, flag: str, needs_config: bool = True) -> str:
    """A model name as transformers takes it: the folder of a stub or a path, or a Hub id.

    A tokenizer's folder needs no ``config.json``.

    Raises:
        InputError: A path without a folder, or a folder without a model.
        ZooError: A stub that leads nowhere.
    """
    if name.startswith("zoo:"):
        from sparsify.zoo.registry import resolve_model

        return str(resolve_model(name))
    path = expanded(name)
    if path.is_dir():
        if not (path / "config.json").is_file() and (inner := _model_of_entry(path)):
            return inner
        if needs_config and not (path / "config.json").is_file():
            raise InputError(f"{flag} {name}: the folder has no config.json{_models_in(path)}")
        return str(path)
    if path.is_file():
        raise InputError(f"{flag} {name}: is a file; a model is a folder with config.json and weights")
    if name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise InputError(f"{flag} {name}: no such folder")
    return name


def _model_of_entry(folder: Path) -> str | None:
    """The model inside a folder laid out as an entry of a zoo, as SparseZoo's downloads were."""
    from sparsify.zoo.registry import model_in

    inner = model_in(folder) if any((folder / name).exists() for name in ("training", "training.tar.gz")) else None
    return str(inner) if inner else None


def load_config(name: str, args: ModelArguments, flag: str = "--model_name_or_path") -> Any:
    """Configuration of a resolved model."""
    from transformers import AutoConfig

    with told(name, flag):
        return AutoConfig.from_pretrained(name, **hub_options(name, args))


@dataclass(frozen=True)
class Loaded:
    """A loaded model.

    Attributes:
        model: The model, in fp32.
        recipe: The recipe that it was made by.
        left_out: Types of that recipe's modifiers of which the model has nothing.
    """

    model: nn.Module
    recipe: Path | None = None
    left_out: tuple[str, ...] = ()


def load(kind: Task, name: str, config: Any, labels: Sequence[str], args: ModelArguments) -> Loaded:
    """A task's model in fp32 with these labels; says which parts start from random values.

    Args:
        kind: The task.
        name: A resolved model.
        config: Its configuration; gets the labels.
        labels: Label of each class; empty where the task has no classes.
        args: Hub options.

    Raises:
        InputError: Weights are missing or damaged.
    """
    same_head = _does(kind, config) and (not labels or list(config_labels(config)) == list(labels))
    if labels:
        _say_renamed(kind, name, config, labels)
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    if same_head and (Path(name) / RECIPE_FILE).is_file():
        with quiet_transformers():
            return Loaded(load_model(name, config=config), Path(name) / RECIPE_FILE)
    model, info = _pretrained(kind, name, config, args)
    own = Path(name) / RECIPE_FILE
    recipe, left_out = readable(own, model) if own.is_file() else (None, ())
    _say_new(kind, name, model, info)
    return Loaded(model, recipe, left_out)


def _say_renamed(kind: Task, name: str, config: Any, labels: Sequence[str]) -> None:
    own = config_labels(config)
    if _does(kind, config) and len(own) == len(labels) and own != list(labels) and not generic(own):
        logger.warning(
            "%s: its classes %s are called %s from now on, and its head is kept",
            *(name, ", ".join(own), ", ".join(labels)),
        )


def load_as_is(kind: Task, name: str, args: ModelArguments, flag: str) -> nn.Module:
    """A model trained for a task, in fp32, with its own labels (a teacher).

    Raises:
        InputError: It cannot be loaded, or was not trained for the task.
    """
    config = load_config(name, args, flag)
    if not _does(kind, config):
        found = ", ".join(config.architectures or ()) or "no architecture"
        raise InputError(f"{flag} {name}: not trained for {kind.name} (its config says {found})")
    return load(kind, name, config, config_labels(config), args).model


def config_labels(config: Any) -> list[str]:
    """Labels of a model's configuration, in the order of their ids."""
    return [config.id2label[i] for i in sorted(config.id2label)]


def _does(kind: Task, config: Any) -> bool:
    return any(name.endswith(kind.suffix) for name in config.architectures or ())


def _pretrained(kind: Task, name: str, config: Any, args: ModelArguments) -> tuple[nn.Module, dict[str, Any]]:
    import transformers

    auto: Any = getattr(transformers, f"AutoModel{kind.suffix}")
    with told(name, "--model_name_or_path"), quiet_transformers():
        cls = auto
        if read_widths(config):  # a shrunk model: its shape is not that of its class
            with torch.device("meta"):
                cls = type(auto.from_config(config))
        state = state_to_load(Path(name)) if Path(name).is_dir() else None
        model, info = shaped(cls, config).from_pretrained(
            name if state is None else None,
            state_dict=state,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **hub_options(name, args),
        )
        if cls is not auto:
            model.__class__ = cls
    return model, info


def _say_new(kind: Task, name: str, model: nn.Module, info: dict[str, Any]) -> None:
    fresh = {*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])}
    fresh &= dict(model.named_parameters(remove_duplicate=False)).keys()  # not those of layers that were taken out
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    head = sorted(key for key in fresh if not key.startswith(prefix))
    body = sorted(fresh - set(head))
    if head:
        logger.info("the classifier head is newly initialised: %s", ", ".join(head))
    if body:
        logger.warning(
            "%s: %d tensors of the encoder are not in the weights and start from random values (%s, ...)",
            *(name, len(body), body[0]),
        )
    quantizers = [key for key in info["unexpected_keys"] if key.endswith((".scale", ".zero_point"))]
    if quantizers:
        logger.warning(
            "%s: its quantizers are left out, since it was not trained for %s with the data's labels", name, kind.name
        )


def hub_options(name: str, args: ModelArguments) -> dict[str, Any]:
    """Keyword arguments of ``from_pretrained``: where it may look, and as whom."""
    local = Path(name).is_dir()
    return {
        "cache_dir": args.cache_dir,
        "revision": args.model_revision,
        "token": args.token,
        "trust_remote_code": args.trust_remote_code,
        "local_files_only": local or not hub.reachable(),
    }


@contextlib.contextmanager
def told(name: str, flag: str) -> Iterator[None]:
    """Turn the many ways in which loading fails into one message."""
    try:
        yield
    except FAILURES as error:
        raise InputError(_reason(name, flag, error)) from error


def _reason(name: str, flag: str, error: Exception) -> str:
    first = reason(error)
    if Path(name).is_dir():
        return f"{flag} {name}: cannot be loaded ({first})"
    if not hub.reachable():
        return (
            f"{flag} {name}: there is no such folder, could not reach {hub.endpoint()} for a model of that name, and it"
            " is not in the local cache"
        )
    return f"{flag} {name}: neither a folder nor a model on the Hub that can be loaded ({first})"


def _models_in(folder: Path) -> str:
    near = sorted(p.parent.name for p in folder.glob("*/config.json"))[:5]
    return f"; folders in it that have one: {', '.join(near)}" if near else ""
