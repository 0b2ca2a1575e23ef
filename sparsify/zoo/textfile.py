"""Small YAML files of the zoo's own: configuration, aliases, model cards. Data, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sparsify.errors import ZooError, first_line

_MOST = 2**20
_DEEPEST = 50
"""Nesting beyond which PyYAML's time grows with the square of it."""


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
        ZooError: Not YAML, with aliases, or nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _check(text, where)
        return yaml.safe_load(text)
    # what does not fit its tag (!!bool perhaps) comes out of PyYAML as whatever its constructor stumbled over
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError, OverflowError) as error:
        raise ZooError(f"{where}: not YAML ({first_line(error)[:160]})") from error


def _check(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ZooError(f"{where}: YAML aliases are not read here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ZooError(f"{where}: not YAML that is read here: nested more than {_DEEPEST} deep")
