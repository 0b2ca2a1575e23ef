"""Publish a folder as an entry: files first, then the manifest that vouches for them, then the root's index."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo import cache
from sparsify.zoo.collect import collect
from sparsify.zoo.filesystem import NotThere
from sparsify.zoo.manifest import MANIFEST, Manifest, Metric, record
from sparsify.zoo.names import expanded, inside
from sparsify.zoo.remote import RemoteRoot
from sparsify.zoo.roots import INDEX, FolderRoot, index_text, open_root
from sparsify.zoo.settings import current, place
from sparsify.zoo.stub import parse_stub

logger = logging.getLogger(__name__)
_PACKAGES = ("sparsify-recipes", "torch", "transformers", "onnx", "onnxruntime", "safetensors", "tokenizers")


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        manifest: The entry's manifest.
        root: Where it went, as it may be shown.
        sources: Local path of each file.
        skipped: Files of the folder that were left out.
    """

    manifest: Manifest
    root: str
    sources: Mapping[str, Path]
    skipped: Sequence[str]


def publish(
    folder: str | os.PathLike[str],
    stub: str,
    zoo: str | os.PathLike[str],
    *,
    base: str | None = None,
    task: str | None = None,
    metrics: Sequence[Metric] | None = None,
    licence: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
) -> Publication:
    """Put a folder into a zoo under a stub.

    It does not look into recipe, weights and ONNX file; ``sparsify-zoo publish`` does before it calls this.

    Args:
        folder: What training wrote, or a folder laid out as an entry.
        stub: What it is called from now on, without query.
        zoo: Folder or address of the root. The addresses of web servers cannot be written.
        base: Stub or Hub id of the model that training started from.
        task: What the model does.
        metrics: What was measured, and by which command.
        licence: SPDX identifier of the weights' licence.
        replace: Take the place of an entry of that name.
        dry_run: Check everything, write nothing.

    Raises:
        ZooError: Nothing to publish, pickled weights only, an entry of that name is there, the root cannot be written.
    """
    parsed = parse_stub(stub)
    if str(parsed) != parsed.base:
        raise ZooError(f"{stub}: an entry is published under its stub alone, without '?'")
    found = collect(expanded(folder))
    records = {name: record(path) for name, path in found.files.items()}
    manifest = Manifest(
        stub=parsed.base, files=records, base=base, task=task, licence=licence,
        metrics=list(metrics) if metrics is not None else None, packages=_versions(),
    )  # fmt: skip
    root = open_root(place(os.fspath(zoo)), current())
    done = Publication(manifest, root.shown, found.files, found.skipped)
    if isinstance(root, FolderRoot):
        _into_folder(root, done, replace, dry_run)
    elif isinstance(root, RemoteRoot):
        _into_remote(root, done, replace, dry_run)
    return done


def reindex(root: FolderRoot | RemoteRoot) -> list[str]:
    """Write ``index.json`` anew from what the root holds, and return the stubs in it."""
    if isinstance(root, FolderRoot):
        stubs = root.stubs()
        cache.write(root.base / INDEX, index_text(stubs).encode())
    else:
        stubs = root.walked()
        root.remote.write(index_text(stubs).encode(), INDEX)
    return stubs


def _into_folder(root: FolderRoot, done: Publication, replace: bool, dry_run: bool) -> None:
    path = parse_stub(done.manifest.stub).path
    if not dry_run:
        with cache.told(root.base):
            root.base.mkdir(parents=True, exist_ok=True)
    target = inside(root.base, path)
    with cache.locked(root.base / "zoo") if not dry_run else contextlib.nullcontext():
        if target.exists() and not replace:
            raise _taken(done)
        if dry_run:
            return
        with cache.told(target):
            _move_in(root.base, target, done)
        reindex(root)


def _move_in(base: Path, target: Path, done: Publication) -> None:
    stage = Path(tempfile.mkdtemp(dir=base, prefix=".publishing-"))
    try:
        fresh = stage / "new"
        for name, source in done.sources.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, fresh / name)
            if not cache.matches(fresh / name, done.manifest.files[name]):
                raise ZooError(f"{source}: changed while it was published; publish again")
        cache.write(fresh / MANIFEST, done.manifest.text().encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            os.replace(target, stage / "old")
        try:
            os.replace(fresh, target)
        except BaseException:
            if (stage / "old").exists():
                os.replace(stage / "old", target)
            raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _into_remote(root: RemoteRoot, done: Publication, replace: bool, dry_run: bool) -> None:
    remote, path = root.remote, parse_stub(done.manifest.stub).path
    if not remote.writable:
        raise ZooError(
            f"{root.shown}: {remote.protocol} addresses are read only; publish into the folder that the server serves"
        )
    earlier = set(remote.find(path))
    with contextlib.suppress(NotThere):
        remote.info(path / MANIFEST)
        earlier.add(MANIFEST)
    if earlier and not replace:
        raise _taken(done)
    if dry_run:
        return
    for name, source in done.sources.items():
        with current().progress(name, done.manifest.files[name].size, 0) as step:
            remote.put(source, path / name)
            step(done.manifest.files[name].size or 0)
    text = done.manifest.text().encode()
    remote.write(text, path / MANIFEST)
    for name in earlier - set(done.sources) - {MANIFEST}:
        remote.remove(path / name)
    if remote.read(path / MANIFEST, len(text)) != text:
        raise ZooError(
            f"{remote.where(path)}: somebody else published there at the same time; verify it, publish again"
        )
    reindex(root)


def _taken(done: Publication) -> ZooError:
    return ZooError(f"{done.manifest.stub} is in {done.root} already; --replace puts this one in its place")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
