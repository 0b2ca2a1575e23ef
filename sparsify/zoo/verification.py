"""Verify a root or an entry: every file of every manifest, and what lies there that no manifest names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo.entry import Entry
from sparsify.zoo.fetch import CHUNK
from sparsify.zoo.filesystem import NotThere, Remote
from sparsify.zoo.layout import PICKLED
from sparsify.zoo.manifest import MANIFEST, FileRecord
from sparsify.zoo.registry import resolve
from sparsify.zoo.remote import RemoteRoot
from sparsify.zoo.roots import FolderRoot, Listing, Root, open_root
from sparsify.zoo.settings import current, place
from sparsify.zoo.stub import is_stub, parse_stub


@dataclass(frozen=True)
class Checked:
    """How one entry came out.

    Attributes:
        stub: The entry.
        files: Files that were read.
        problems: What is wrong, one line each; empty where all is right.
        notes: What is not wrong but should be known.
    """

    stub: str
    files: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def verify(what: str | os.PathLike[str]) -> list[Checked]:
    """Read every file of an entry, or of all entries of a root, and compare it with its manifest.

    Files of remote roots are read where they are and not kept.

    Args:
        what: A stub, or a root's folder or address.

    Raises:
        ZooError: The stub leads nowhere, or the root does not answer.
    """
    text = os.fspath(what)
    if is_stub(text):
        entry = resolve(text)
        return [_checked(entry.root, entry)]
    settings = current()
    root = open_root(place(text), settings)
    if isinstance(root, FolderRoot) and (reason := root.missing()):
        raise ZooError(f"{text}: no such folder{reason.replace(' (missing)', '')}")
    found = []
    remote = isinstance(root, RemoteRoot)
    for stub in root.asked() if isinstance(root, RemoteRoot) else root.stubs():
        try:
            listing = root.entry(parse_stub(stub).path)
        except ZooError as error:
            found.append(Checked(stub, 0, (str(error),)))
            continue
        if listing is None:
            lacking = "named by the index and not there" if remote else "no recipe and no model in this folder"
            found.append(Checked(stub, 0, (lacking,)))
        else:
            found.append(_checked(root, Entry(parse_stub(stub), root, listing, settings.cache)))
    return found


def _checked(root: Root, entry: Entry) -> Checked:
    problems = [said for name in sorted(entry.files) if (said := _problem(root, entry.listing, name))]
    notes = [f"{name}: pickled; published weights are safetensors" for name in entry.files if name.endswith(PICKLED)]
    if entry.manifest is None:
        notes.append("no manifest: nothing to compare with")
    elif isinstance(root, FolderRoot):
        notes += [f"{name}: not in the manifest" for name in _extra(root.base / entry.listing.path, entry.listing)]
    return Checked(entry.stub.base, len(entry.files), tuple(problems), tuple(notes))


def _problem(root: Root, listing: Listing, name: str) -> str | None:
    try:
        if isinstance(root, RemoteRoot):
            return _difference(root.remote, str(root.place(listing, name)), listing.files[name])
        root.local(listing, name)
    except NotThere:
        return f"{name}: not there"
    except ZooError as error:
        return str(error)
    return None


def _difference(remote: Remote, place: str, file: FileRecord) -> str | None:
    found, size = hashlib.sha256(), 0
    limit = file.size
    with remote.open(place, 0) as (stream, _):
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            found.update(chunk)
            if limit is not None and size > limit:
                return f"{remote.where(place)}: larger than the {limit:,} bytes of its manifest"
    if limit is not None and size != limit:
        return f"{remote.where(place)}: has {size:,} bytes, the manifest says {limit:,}"
    if file.sha256 is not None and found.hexdigest() != file.sha256:
        return f"{remote.where(place)}: its sha256 is not the manifest's"
    return None


def _extra(folder: Path, listing: Listing) -> list[str]:
    there = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in there if name not in listing.files and name != MANIFEST)
