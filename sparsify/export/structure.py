"""A model's structure without its weights: enough to see what a recipe's names and patterns match."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sparsify.errors import InputError
from sparsify.export.checkpoint import quiet_transformers, shaped


def empty_model(directory: str | Path) -> nn.Module:
    """The model of a folder's ``config.json``, on the meta device: no weights are read or made.

    Args:
        directory: Folder with a ``config.json``; weights need not be there. Code in it is never run.

    Raises:
        InputError: No such folder, or its configuration names no model that transformers has.
    """
    import transformers

    folder = Path(directory).expanduser()
    if not (folder / "config.json").is_file():
        raise InputError(f"{directory}: no config.json there; give a model folder")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot read config.json ({str(error).splitlines()[0]})") from error
    name = next(iter(config.architectures or []), None)
    cls = getattr(transformers, name, None) if name else transformers.AutoModel
    if cls is None:
        raise InputError(f"{folder}/config.json names the architecture {name!r}, which transformers does not have")
    with quiet_transformers(), torch.device("meta"):
        model: nn.Module = shaped(cls, config)(config) if name else cls.from_config(config)
    return model
