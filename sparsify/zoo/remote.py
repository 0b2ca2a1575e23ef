"""A root behind an fsspec address, with the cache in front of it."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import cache
from sparsify.zoo.fetch import fetch
from sparsify.zoo.filesystem import WEAK, NotThere, Remote
from sparsify.zoo.layout import is_entry
from sparsify.zoo.manifest import MANIFEST, MAX_MANIFEST, FileRecord, Manifest, read_manifest, record, revision
from sparsify.zoo.names import safe, safe_set, shown
from sparsify.zoo.roots import INDEX, Listing, Root, names_entry, read_index
from sparsify.zoo.settings import Place, Settings
from sparsify.zoo.stub import DEPTH, PREFIX

logger = logging.getLogger(__name__)
_HEAD = "head.json"
_MOST_INDEX = 32 * 2**20
_ENTRY_DEPTH = 4
_MOST_LISTED = 1_000_000
_HUB = ("hf",)
_asked: set[Path] = set()
"""Files in the cache that this process fetched from servers that tell no versions."""


class RemoteRoot(Root):
    """An address: entries are listed there, or from the cache where there is no network; files are kept in the cache.

    Args:
        place: Address and options.
        settings: Cache, offline, progress.
        flat: The address is one entry, not a root of many.
    """

    def __init__(self, place: Place, settings: Settings, flat: bool = False) -> None:
        self.shown = shown(place.url)
        self._place, self._settings, self._flat = place, settings, flat
        self._cache = cache.root_folder(settings.cache, place.url)
        hub_offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        self._offline = settings.offline or (place.url.split("://", 1)[0].lower() in _HUB and hub_offline)

    @functools.cached_property
    def remote(self) -> Remote:
        """The files there.

        Raises:
            ZooUnreachable: Offline.
            ZooError: The address is not allowed.
        """
        if self._offline:
            raise ZooUnreachable(f"{self.shown}: not asked (offline)")
        return Remote(self._place.url, self._place.options)

    def missing(self) -> str:
        """Nothing is known of it without asking."""
        return " (offline: its cache only)" if self._offline else ""

    def entry(self, path: PurePosixPath) -> Listing | None:
        """What the root has now; what it had, where it does not answer."""
        try:
            return self._ask(path)
        except ZooUnreachable as error:
            cached = self._cached(path)
            if cached is None:
                raise
            if not self._offline:
                logger.warning("%s; using what is in the cache", error)
            return cached

    def _ask(self, path: PurePosixPath) -> Listing | None:
        place = self._there(path)
        head = self._head(path)
        try:
            seen = self.remote.info(place / MANIFEST)
            known = seen.tag is not None and not seen.tag.startswith(WEAK)
            if head is not None and head.manifest is not None and known and head.tag == seen.tag:
                return Listing(path, head.files, head.manifest)
            data = self.remote.read(place / MANIFEST, MAX_MANIFEST)
        except NotThere:
            return self._without_manifest(path)
        manifest = read_manifest(data, self.remote.where(place), None if self._flat else f"{PREFIX}{path}")
        self._keep(path, manifest.files, data, seen.tag)
        return Listing(path, manifest.files, manifest)

    def _without_manifest(self, path: PurePosixPath) -> Listing | None:
        place = self._there(path)
        names = [name for name in self.remote.find(place, _ENTRY_DEPTH) if _safe(name)]
        if not is_entry(names):
            return None
        safe_set(names, self.remote.where(place))
        files = {}
        for name in names:
            try:
                files[name] = self.remote.info(place / name)
            except NotThere:
                continue
        self._keep(path, files, None, None)
        return Listing(path, files)

    def local(self, listing: Listing, name: str) -> Path:
        """The file in the cache, fetched if need be; of a server that tells no versions, once by each process."""
        target, known = self._revision(listing) / name, listing.files[name]
        file = known if known.sha256 else self._recorded(listing, name)
        kept = cache.matches(target, file) and (file.sha256 is not None or file.size is not None)
        versioned = known.sha256 is not None or known.tag is not None
        shut = self._offline or listing.stale
        if kept and (versioned or shut or target in _asked):
            return target
        if shut:
            raise ZooUnreachable(
                f"{self.shown}/{self.place(listing, name)}: not in the cache, and the root cannot be asked"
            )
        try:
            # such a server may hold another version by now: what was fetched once binds it to nothing
            self._fetch(self.place(listing, name), target, file if versioned else known, anew=not versioned)
        except ZooUnreachable as error:
            if not kept:
                raise
            logger.warning("%s; using what is in the cache", error)
            return target
        if known.sha256 is None:
            cache.write(self._record_file(listing, name), record(target).model_dump_json().encode())
        if not versioned:
            _asked.add(target)
        return target

    def _fetch(self, place: PurePosixPath, target: Path, file: FileRecord, anew: bool) -> None:
        where, source = self.remote.where(place), functools.partial(self.remote.open, place)
        try:
            fetch(source, target, file, where, self._settings.progress, anew=anew)
        except NotThere:
            raise ZooError(f"{where}: listed, and not there") from None

    def place(self, listing: Listing, name: str) -> PurePosixPath:
        """Where a file of an entry lies below the address."""
        return self._there(listing.path) / safe(name, str(listing.path))

    def folder(self, listing: Listing, prefix: str) -> Path:
        """The folder in the cache."""
        return self._revision(listing) / prefix

    def stubs(self) -> list[str]:
        """Those of ``index.json``, else of what can be listed; of the cache where the root does not answer."""
        if self._flat:
            return []
        try:
            return self.asked()
        except ZooUnreachable:
            heads = self._cache.rglob(_HEAD) if self._cache.is_dir() else ()
            names = (head.parent.relative_to(self._cache).as_posix() for head in heads)
            return sorted(f"{PREFIX}{name}" for name in names if names_entry(name))  # files may have that name, too

    def asked(self) -> list[str]:
        """Stubs that the root has now.

        Raises:
            ZooUnreachable: It does not answer.
        """
        try:
            return read_index(self.remote.read(INDEX, _MOST_INDEX), self.shown)
        except NotThere:
            return self.walked()

    def walked(self) -> list[str]:
        """Stubs of what can be listed there, without its index."""
        found: set[str] = set()
        for name in self.remote.find(depth=DEPTH + 1, most=_MOST_LISTED):
            *folders, _ = name.split("/")
            short = bool(folders) and "-" in folders[0]  # a domain has no dash
            top = "/".join(folders[: 1 if short else DEPTH])
            if names_entry(top):
                found.add(f"{PREFIX}{top}")
        return sorted(found)

    def _there(self, path: PurePosixPath) -> PurePosixPath:
        return PurePosixPath() if self._flat else path

    # what is kept of a listing

    def _revision(self, listing: Listing) -> Path:
        return cache.revision_folder(cache.under(self._cache, listing.path), revision(listing.files))

    def _record_file(self, listing: Listing, name: str) -> Path:
        return self._revision(listing) / ".records" / f"{name}.json"

    def _recorded(self, listing: Listing, name: str) -> FileRecord:
        try:
            return FileRecord.model_validate_json(self._record_file(listing, name).read_bytes())
        except (OSError, ValidationError):
            return listing.files[name]

    def _keep(
        self, path: PurePosixPath, files: Mapping[str, FileRecord], manifest: bytes | None, tag: str | None
    ) -> None:
        folder = cache.under(self._cache, path)
        if manifest is not None:
            cache.write(cache.revision_folder(folder, revision(files)) / MANIFEST, manifest)
        head: dict[str, Any] = {"tag": tag, "revision": revision(files), "manifest": manifest is not None}
        if manifest is None:
            head["files"] = {name: file.model_dump() for name, file in files.items()}
        cache.write(folder / _HEAD, json.dumps(head).encode())

    def _head(self, path: PurePosixPath) -> _Head | None:
        folder = cache.under(self._cache, path)
        try:
            raw = json.loads((folder / _HEAD).read_bytes())
            if not raw["manifest"]:
                files = {str(name): FileRecord.model_validate(file) for name, file in raw["files"].items()}
                safe_set(files, str(folder))
                return _Head(None, files, None)
            data = (cache.revision_folder(folder, raw["revision"]) / MANIFEST).read_bytes()
            manifest = read_manifest(data, str(folder), None if self._flat else f"{PREFIX}{path}")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ZooError):
            return None  # a damaged cache is no cache
        return _Head(raw.get("tag"), manifest.files, manifest)

    def _cached(self, path: PurePosixPath) -> Listing | None:
        head = self._head(path)
        return Listing(path, head.files, head.manifest, stale=True) if head else None


class _Head:
    """What the cache knows of an entry."""

    def __init__(self, tag: str | None, files: Mapping[str, FileRecord], manifest: Manifest | None) -> None:
        self.tag, self.files, self.manifest = tag, files, manifest


def _safe(name: str) -> bool:
    try:
        safe(name, "")
    except ZooError:
        return False
    return True
