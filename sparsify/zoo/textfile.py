"""Small YAML files of the zoo's own: configuration, aliases, model cards. Data, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sparsify.errors import ZooError

_MOST = 2**20


def read_yaml(path: Path) -> Any:
    """Contents of a small YAML file.

    Raises:
        ZooError: It cannot be read, is too large, or is not YAML.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST + 1)
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _MOST:
        raise ZooError(f"{path}: larger than {_MOST} bytes")
    return parse_yaml(data, str(path))


def parse_yaml(data: bytes | str, where: str) -> Any:
    """Data of YAML text without aliases (which could blow it up).

    Raises:
        ZooError: Not YAML, or with aliases.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ZooError(f"{where}: YAML aliases are not read here")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ZooError(f"{where}: not YAML ({reason})") from error
