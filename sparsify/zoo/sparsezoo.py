"""What SparseZoo's downloads left on the disk: its cache, whose folders have names of its own.

Its folders are ``<namespace>/<short stub>`` or an id. Which stub an id stands for is told by the front matter of
``model.md`` alone; a folder without that needs an alias (docs/zoo.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sparsify.errors import ZooError
from sparsify.zoo.roots import FolderRoot, Listing, listed
from sparsify.zoo.stub import PREFIX, Stub, parse_stub
from sparsify.zoo.textfile import parse_yaml

_CARD = "model.md"
_MOST_CARD = 2**18
_MOST_FOLDERS = 2000
_FRONT = re.compile(r"\A\s*(?:---|\+\+\+)[^\S\n]*\n(.*?)\n(?:---|\+\+\+)", re.DOTALL)


class SparseZooCache(FolderRoot):
    """SparseZoo's cache folder."""

    def entry(self, path: PurePosixPath) -> Listing | None:
        """The folder that holds what the stub meant, whatever its name."""
        if found := super().entry(path):
            return found
        for folder, stub in self._known():
            if stub.path == path and (
                found := listed(self.base, PurePosixPath(folder.relative_to(self.base).as_posix()))
            ):
                return found
        return None

    def stubs(self) -> list[str]:
        """Stubs of all folders that tell theirs."""
        return sorted({*super().stubs(), *(stub.base for _, stub in self._known())})

    def _known(self) -> Iterator[tuple[Path, Stub]]:
        for folder in _candidates(self.base):
            stub = _named(folder.name) if "-" in folder.name and folder.parent != self.base else None
            stub = stub or card_stub(folder / _CARD)
            if stub is not None:
                yield folder, stub


def card_stub(card: Path) -> Stub | None:
    """The stub that a model card's front matter spells out, None where it does not."""
    try:
        with card.open("rb") as stream:
            text = stream.read(_MOST_CARD).decode("utf-8", "replace")
    except OSError:
        return None
    front = _FRONT.match(text)
    try:
        fields = parse_yaml(front[1], str(card)) if front else None
    except ZooError:
        return None
    return _named(_spelled(fields)) if isinstance(fields, dict) else None


def _spelled(fields: dict[Any, Any]) -> str:
    def value(*names: str) -> str:
        found = next((fields[name] for name in names if fields.get(name) not in (None, "")), "")
        return str(found) if isinstance(found, str | int | float) else ""

    def joined(*parts: str) -> str:
        return "-".join(part for part in parts if part)

    tag = value("sparse_tag") or joined(
        value("sparse_name", "optim_name"),
        value("sparse_category", "optim_category"),
        value("sparse_target", "optim_target"),
    )
    dataset = joined(value("dataset", "train_dataset"), value("training_scheme"))
    architecture = joined(value("architecture"), value("sub_architecture"))
    return "/".join(
        (value("domain"), value("sub_domain"), architecture, value("framework"), value("repo"), dataset, tag)
    )


def _named(text: str) -> Stub | None:
    try:
        return parse_stub(f"{PREFIX}{text}")
    except ZooError:
        return None


def _candidates(base: Path) -> Iterator[Path]:
    count = 0
    for top in _folders(base):
        for folder in (top, *_folders(top)):
            count += 1
            if count > _MOST_FOLDERS:
                return
            yield folder


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return []
