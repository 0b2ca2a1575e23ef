"""A model's structure without its weights: enough to see what a recipe's names and patterns match."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sparsify.errors import InputError, reason
from sparsify.export.checkpoint import quiet_transformers, shaped
from sparsify.export.pretrained import FAILURES, architecture_of, model_class, read_pretrained_config
from sparsify.zoo.names import expanded


def empty_model(directory: str | Path) -> nn.Module:
    """The model of a folder's ``config.json``, on the meta device: no weights are read or made.

    Args:
        directory: Folder with a ``config.json``; weights need not be there. Code in it is never run.

    Raises:
        InputError: No such folder, or its configuration names no model that transformers has.
    """
    import transformers

    folder = expanded(directory)
    if not (folder / "config.json").is_file():
        raise InputError(f"{directory}: no config.json there; give a model folder")
    config = read_pretrained_config(folder)
    name = architecture_of(config)
    cls = shaped(model_class(name, f"{folder}/config.json"), config) if name else transformers.AutoModel.from_config
    try:
        with quiet_transformers(), torch.device("meta"):
            model: nn.Module = cls(config)
    except FAILURES as error:
        raise InputError(f"{folder}: no model can be made of its config.json ({reason(error)})") from error
    return model
