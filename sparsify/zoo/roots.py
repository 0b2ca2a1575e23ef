"""Roots: a folder, or an address with a cache in front of it. Both list an entry and give its files as local paths."""

from __future__ import annotations

import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sparsify.errors import ZooError
from sparsify.zoo import cache
from sparsify.zoo.layout import is_entry
from sparsify.zoo.manifest import MANIFEST, MAX_MANIFEST, FileRecord, Manifest, read_manifest
from sparsify.zoo.names import MAX_FILES, expanded, inside, safe, shown
from sparsify.zoo.settings import Place, Settings
from sparsify.zoo.stub import DEPTH, PREFIX, parse_stub

logger = logging.getLogger(__name__)
INDEX = "index.json"


@dataclass(frozen=True)
class Listing:
    """An entry as a root has it.

    Attributes:
        path: Its folder below the root.
        files: Every file but the manifest.
        manifest: What its ``manifest.json`` says, None where it has none.
        stale: The root did not answer, so this is what it said last.
    """

    path: PurePosixPath
    files: Mapping[str, FileRecord] = field(repr=False)
    manifest: Manifest | None = None
    stale: bool = False


class Root(ABC):
    """One place where entries are."""

    shown: str
    """Its address, as it may be shown."""

    @abstractmethod
    def entry(self, path: PurePosixPath) -> Listing | None:
        """What the root has at ``path``, None if nothing.

        Raises:
            ZooUnreachable: It did not answer, and nothing of it is in the cache.
            ZooError: What it has cannot be trusted.
        """

    @abstractmethod
    def local(self, listing: Listing, name: str) -> Path:
        """One file of an entry, checked, as a local path.

        Raises:
            ZooError: It is damaged, leaves the root or cannot be fetched.
        """

    @abstractmethod
    def folder(self, listing: Listing, prefix: str) -> Path:
        """Local folder in which the files of ``prefix`` lie once ``local`` was called for each."""

    @abstractmethod
    def stubs(self) -> list[str]:
        """Stubs of all its entries."""

    @abstractmethod
    def missing(self) -> str:
        """Why it can have nothing (" (missing)"), else an empty text."""


class FolderRoot(Root):
    """A folder of this machine: files are used where they lie."""

    def __init__(self, path: Path) -> None:
        self.base = path
        self.shown = str(path)

    def missing(self) -> str:
        """Whether the folder is there."""
        try:
            return "" if self.base.is_dir() else " (missing)"
        except OSError as error:
            return f" ({error.strerror or error})"

    def entry(self, path: PurePosixPath) -> Listing | None:
        """What lies in the folder."""
        folder = inside(self.base, path)
        with cache.told(folder):
            if self.missing() or not folder.is_dir():
                return None
        return listed(self.base, path)

    def local(self, listing: Listing, name: str) -> Path:
        """The file itself."""
        path = inside(self.base, listing.path / safe(name, str(listing.path)))
        with cache.told(path):
            if not path.is_file():
                named = "named by the manifest" if listing.manifest else "listed"
                raise ZooError(f"{path}: {named} and not there, or no plain file")
            path.open("rb").close()  # one that may not be read is not a damaged one
        file = listing.files[name]
        if not cache.matches(path, file):
            raise ZooError(
                f"{path}: not the file that the manifest names (size or sha256 differ): it is damaged or was edited"
            )
        return path

    def folder(self, listing: Listing, prefix: str) -> Path:
        """The folder itself."""
        return self.base / listing.path / prefix

    def stubs(self) -> list[str]:
        """Every folder seven levels deep, and those at the top whose name is a short stub."""
        if self.missing():
            return []
        deep = (path.relative_to(self.base).as_posix() for path in _walk(self.base, 0))
        top = (path.name for path in _folders(self.base) if "-" in path.name)
        return sorted({f"{PREFIX}{name}" for name in (*deep, *top) if names_entry(name)})


def listed(base: Path, path: PurePosixPath) -> Listing | None:
    """An entry's folder as a listing; None if it holds nothing of an entry.

    Raises:
        ZooError: Its manifest cannot be trusted, or a link leads out of ``base``.
    """
    folder = base / path
    file = inside(base, path / MANIFEST)
    if file.is_file():
        with cache.told(file), file.open("rb") as stream:
            data = stream.read(MAX_MANIFEST + 1)
        stub = None if path == PurePosixPath() else f"{PREFIX}{path}"
        manifest = read_manifest(data, str(folder), stub)
        return Listing(path, manifest.files, manifest)
    names = _files(folder)
    return Listing(path, {name: FileRecord() for name in names}) if is_entry(names) else None


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(top).relative_to(folder)
        found += [(relative / name).as_posix() for name in sorted(files) if not name.startswith(".")]
        if len(found) > MAX_FILES:
            raise ZooError(f"{folder}: more than {MAX_FILES} files; is this an entry?")
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if depth == DEPTH:
        yield folder
        return
    for entry in _folders(folder):
        yield from _walk(entry, depth + 1)


def _folders(folder: Path) -> list[Path]:
    try:
        found = sorted(e for e in folder.iterdir() if e.is_dir() and not e.is_symlink() and not e.name.startswith("."))
    except OSError:
        return []
    return found[:MAX_FILES]


def names_entry(name: str) -> bool:
    """Whether a path below a root is one that an entry can have: a stub as it is written without ``zoo:``."""
    try:
        return str(parse_stub(name).path) == name
    except ZooError:
        return False


def read_index(data: bytes, where: str) -> list[str]:
    """Stubs of a root's ``index.json``; those that are none are left out.

    Raises:
        ZooError: It is not an index.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{where}/{INDEX}: not JSON") from error
    stubs = raw.get("stubs") if isinstance(raw, dict) else None
    if not isinstance(stubs, list) or len(stubs) > MAX_FILES * 10:
        raise ZooError(f"{where}/{INDEX}: not an index of a zoo")
    return sorted(
        {
            f"{PREFIX}{name}"
            for stub in stubs
            if isinstance(stub, str) and names_entry(name := stub.removeprefix(PREFIX))
        }
    )


def index_text(stubs: list[str]) -> str:
    """Text of ``index.json``."""
    return json.dumps({"schema_version": 1, "stubs": stubs}, indent=2) + "\n"


def open_root(place: Place, settings: Settings) -> Root:
    """The root at a folder or address.

    Raises:
        ZooError: The address is not allowed, or empty.
    """
    if not place.url.strip():
        raise ZooError("the name of a zoo's root is empty; name a folder or an address (. is this folder)")
    if "://" not in place.url or place.url.startswith("file://"):
        folder = expanded(place.url.removeprefix("file://"))
        if place.sparsezoo:
            from sparsify.zoo.sparsezoo import SparseZooCache

            return SparseZooCache(folder)
        return FolderRoot(folder)
    from sparsify.zoo.remote import RemoteRoot

    logger.debug("zoo root %s", shown(place.url))
    return RemoteRoot(place, settings)
