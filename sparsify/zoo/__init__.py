"""The zoo: stubs, the entries they stand for, and how entries are published."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsify.zoo.entry import Entry
    from sparsify.zoo.model import Model
    from sparsify.zoo.publishing import publish
    from sparsify.zoo.registry import entries, resolve
    from sparsify.zoo.stub import Stub, parse_stub
    from sparsify.zoo.verification import verify

_HOMES = {
    "Entry": "entry",
    "Model": "model",
    "Stub": "stub",
    "entries": "registry",
    "parse_stub": "stub",
    "publish": "publishing",
    "resolve": "registry",
    "verify": "verification",
}
__all__ = ["Entry", "Model", "Stub", "entries", "parse_stub", "publish", "resolve", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparsify.zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparsify.zoo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
