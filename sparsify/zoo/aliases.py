"""Stubs whose files live on under another name: the packaged list, and the user's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo.settings import Settings, config_file, packaged
from sparsify.zoo.stub import PREFIX, Stub, parse_stub
from sparsify.zoo.textfile import read_yaml

FILE = "aliases.yaml"
_FIELDS = {"to", "checked", "note"}


@dataclass(frozen=True)
class Alias:
    """What stands in for a stub.

    Attributes:
        to: Another stub, a folder, or the address of a folder (``hf://org/repo``).
        checked: Whether somebody saw that it holds what the stub promised.
        note: What is known about it.
    """

    to: str
    checked: bool = False
    note: str = ""


def find_alias(stub: str, settings: Settings) -> Alias | None:
    """The alias of a stub (``zoo:...``, without query), None if it has none.

    Raises:
        ZooError: The alias file is wrong.
    """
    for name, to in settings.aliases.items():
        if _stub(name, f"{config_file()}: aliases").base == stub:
            if to.startswith(PREFIX):
                _stub(to, f"{config_file()}: aliases")
            return Alias(to, checked=True, note="your configuration")
    return read_aliases(packaged() / FILE).get(stub)


@functools.lru_cache(maxsize=8)
def read_aliases(file: Path) -> Mapping[str, Alias]:
    """Aliases of a file, by stub.

    Raises:
        ZooError: It is not a file of aliases.
    """
    if not file.is_file():
        return {}
    raw = read_yaml(file)
    listed = raw.get("aliases") if isinstance(raw, dict) else None
    if not isinstance(listed, dict):
        raise ZooError(f"{file}: it has no aliases")
    return {_stub(str(name), str(file)).base: _alias(str(name), value, file) for name, value in listed.items()}


def _alias(name: str, value: object, file: Path) -> Alias:
    if not isinstance(value, dict) or set(value) - _FIELDS or not isinstance(value.get("to"), str):
        raise ZooError(f"{file}: {name}: an alias has to, checked and note")
    to, checked = value["to"], value.get("checked", False)
    if not isinstance(checked, bool):
        raise ZooError(f"{file}: {name}: checked is true or false, got {checked!r}")
    if to.startswith(PREFIX):
        _stub(to, f"{file}: {name}")
    return Alias(to, checked, str(value.get("note", "")))


def _stub(text: str, where: str) -> Stub:
    try:
        return parse_stub(text)
    except ZooError as error:
        raise ZooError(f"{where}: {error}") from None
