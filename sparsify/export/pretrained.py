"""What transformers reads of a model folder, with one message for whatever goes wrong there."""

from __future__ import annotations

import difflib
import pickle
import re
import struct
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from sparsify.errors import InputError, reason

FAILURES = (
    *(OSError, ValueError, RuntimeError, LookupError, EOFError, ImportError, TypeError, AttributeError),
    *(ArithmeticError, SafetensorError, StrictDataclassError, pickle.UnpicklingError, struct.error),
)
"""What transformers lets through from files that are missing, cut short or not what their name says."""


def read_pretrained_config(folder: Path) -> Any:
    """A model folder's configuration, as transformers has it.

    Raises:
        InputError: There is none, or it is none that transformers knows.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except FAILURES as error:
        raise InputError(f"{folder}: cannot read config.json ({reason(error)})") from error


def architecture_of(config: Any) -> object:
    """The first of the model classes that a configuration names, whatever stands there; None where it names none."""
    named = config.architectures
    return next(iter(named), None) if isinstance(named, list | tuple) else named


def model_class(name: object, where: str) -> Any:
    """The class of transformers that has this name.

    Args:
        name: What should be the name of a class of models.
        where: Who says so, for the message.

    Raises:
        InputError: transformers has no such class of models.
    """
    import transformers

    if name is None:
        raise InputError(f"{where} names no architecture: which class of models its weights are of is not known")
    try:
        found = getattr(transformers, name, None) if isinstance(name, str) else None
    except FAILURES as error:
        raise InputError(
            f"{where} names the architecture {name!r}, which cannot be used here ({reason(error)})"
        ) from error
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        known = [known for known in dir(transformers) if re.search(r"For[A-Z]|Model$", known)]
        near = difflib.get_close_matches(str(name), known, n=1)
        meant = f"; did it mean {near[0]}?" if near and near[0] != name else ""
        raise InputError(
            f"{where} names the architecture {name!r}, which is no model that transformers {transformers.__version__}"
            f" has{meant}"
        )
    return found
