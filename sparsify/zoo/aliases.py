"""Stubs whose files live on under another name: the packaged list, and the user's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo.settings import Settings, packaged
from sparsify.zoo.stub import PREFIX, parse_stub
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
    if own := {parse_stub(name).base: to for name, to in settings.aliases.items()}.get(stub):
        return Alias(own, checked=True, note="your configuration")
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
    return {parse_stub(str(name)).base: _alias(str(name), value, file) for name, value in listed.items()}


def _alias(name: str, value: object, file: Path) -> Alias:
    if not isinstance(value, dict) or set(value) - _FIELDS or not isinstance(value.get("to"), str):
        raise ZooError(f"{file}: {name}: an alias has to, checked and note")
    to = value["to"]
    if to.startswith(PREFIX):
        parse_stub(to)
    return Alias(to, bool(value.get("checked", False)), str(value.get("note", "")))
