"""Stubs to entries: roots in order, then aliases; and a message that says where was looked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo.aliases import Alias, find_alias
from sparsify.zoo.entry import Entry
from sparsify.zoo.layout import choose_recipe, nearest
from sparsify.zoo.names import expanded
from sparsify.zoo.roots import FolderRoot, Root, listed, open_root
from sparsify.zoo.settings import VARIABLE, Place, Settings, current, packaged, using
from sparsify.zoo.stub import PREFIX, Stub, is_stub, parse_stub

logger = logging.getLogger(__name__)
__all__ = [
    "entries",
    "is_stub",
    "model_in",
    "packaged",
    "recipe_in",
    "resolve",
    "resolve_model",
    "resolve_recipe",
    "roots",
]
_OTHER = {"recipe": "a local path or YAML text", "model": "a local path or a Hub id"}


def roots(settings: Settings | None = None) -> list[Root]:
    """Roots in the order they are searched."""
    settings = settings or current()
    return [open_root(place, settings) for place in settings.places]


def resolve(
    stub: str,
    *,
    zoo: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    offline: bool | None = None,
) -> Entry:
    """The entry that a stub stands for.

    Args:
        stub: ``zoo:...``, long or short.
        zoo: Roots that are searched before all others; one, or several.
        offline: Never use the network (default: the environment's and the configuration's word).

    Returns:
        The entry in the first root that has it.

    Raises:
        ZooError: Malformed, or no root has it.
    """
    with using(zoo, offline):
        return _resolve(parse_stub(stub), "entry", lambda entry: True)


def resolve_recipe(stub: str) -> Path:
    """Recipe file of a stub: ``recipe.yaml``, or ``recipe_NAME.yaml`` for ``?recipe=NAME`` (also .yml, .md, .json).

    Raises:
        ZooError: Malformed, no root has it, or it is damaged.
    """
    return _resolve(parse_stub(stub), "recipe", lambda entry: entry.recipe_name() is not None).recipe()


def resolve_model(stub: str) -> Path:
    """Folder with the trained model of a stub: its ``training/``.

    Raises:
        ZooError: Malformed, no root has it, or it is damaged.
    """
    return _resolve(parse_stub(stub), "model", lambda entry: entry.has_model).training()


def entries() -> list[str]:
    """Stubs of everything found under the roots, sorted; a root that does not answer, or not with an index, has none."""
    found, errors = listed_entries()
    for error in errors:
        logger.warning("%s", error)
    return found


def listed_entries() -> tuple[list[str], list[ZooError]]:
    """As ``entries``, with what is wrong with roots whose entries cannot be listed; of those out of reach a warning."""
    found: set[str] = set()
    errors: list[ZooError] = []
    for root in roots():
        try:
            found |= set(root.stubs())
        except ZooUnreachable as error:
            logger.warning("%s", error)
        except ZooError as error:
            errors.append(error)
    return sorted(found), errors


def entry_in(folder: Path) -> Entry | None:
    """A folder that is itself an entry, whatever its name (a SparseZoo download, say); None if it is none.

    Raises:
        ZooError: Its manifest cannot be trusted.
    """
    listing = listed(folder, PurePosixPath())
    stub = Stub(None, None, "folder", None, None, None, "folder", None, "folder")
    return Entry(stub, FolderRoot(folder), listing, current().cache) if listing else None


def recipe_in(folder: Path) -> Path | None:
    """The default recipe of a folder that is laid out as an entry, None if there is none."""
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    name = choose_recipe(names, None)
    return folder / name if name else None


def model_in(folder: Path) -> Path | None:
    """The model folder inside a folder that is an entry, None if there is none."""
    entry = entry_in(folder)
    return entry.training() if entry is not None and entry.has_model else None


def _resolve(stub: Stub, kind: str, enough: Callable[[Entry], bool]) -> Entry:
    settings = current()
    searched: list[str] = []
    poorer: list[Entry] = []
    for root in roots(settings):
        try:
            listing = root.entry(stub.path)
        except ZooUnreachable as error:
            searched.append(f"{root.shown}{root.missing() or ' (did not answer)'}")
            if not root.missing():
                logger.warning("%s", error)
            continue
        searched.append(f"{root.shown}{root.missing()}")
        if listing is None:
            continue
        entry = Entry(stub, root, listing, settings.cache)
        if enough(entry):
            return entry
        poorer.append(entry)
    alias = find_alias(stub.base, settings)
    found = _through(stub, alias, settings, searched) if alias else None
    if found is not None and enough(found):
        return found
    raise _unresolved(stub, kind, poorer, searched, alias)


def _through(stub: Stub, alias: Alias, settings: Settings, searched: list[str]) -> Entry | None:
    if alias.to.startswith(PREFIX):
        found = _same(stub, alias, settings)
        searched.append(f"its alias {alias.to}")
        return found
    if "://" not in alias.to:
        entry = entry_in(expanded(alias.to))
        searched.append(f"its alias {alias.to}")
        return Entry(stub, entry.root, entry.listing, settings.cache, alias.to) if entry else None
    from sparsify.zoo.remote import RemoteRoot

    root = RemoteRoot(Place(alias.to), settings, flat=True)
    try:
        listing = root.entry(stub.path)
    except ZooUnreachable as error:
        searched.append(f"its alias {root.shown} (did not answer)")
        logger.debug("%s", error)
        return None
    searched.append(f"its alias {root.shown}")
    if listing is not None and not alias.checked:
        logger.info(
            "%s: taken from %s (%s; not checked to be the same)", stub.base, root.shown, alias.note or "an alias"
        )
    return Entry(stub, root, listing, settings.cache, alias.to) if listing else None


def _same(stub: Stub, alias: Alias, settings: Settings) -> Entry | None:
    target = parse_stub(alias.to)
    for root in roots(settings):
        try:
            listing = root.entry(target.path)
        except ZooUnreachable as error:
            logger.warning("%s", error)
            continue
        if listing is not None:
            return Entry(stub, root, listing, settings.cache, alias.to)
    return None


def _unresolved(stub: Stub, kind: str, poorer: list[Entry], searched: list[str], alias: Alias | None) -> ZooError:
    lines = [f"no {kind} found for {stub}"]
    wanted = {"recipe": f"recipe_{stub.recipe}.yaml" if stub.recipe else "recipe.yaml", "model": "training/"}.get(
        kind, ""
    )
    for entry in poorer:
        inside = ", ".join(sorted(entry.files)[:10]) if len(entry.files) <= 10 else entry.contents()
        lines.append(f"{entry.root.shown}/{entry.listing.path} has no {wanted}; in it: {inside}")
    lines.append(f"searched: {', '.join(searched)} (--zoo or {VARIABLE} adds roots)")
    known, errors = listed_entries()
    lines += [f"not all entries could be listed: {error}" for error in errors]
    near = nearest(stub.base, [name for name in known if name != stub.base])
    if near:
        lines.append(f"nearest: {', '.join(near)}")
    if alias is not None and "://" in alias.to:
        lines.append(
            f"its weights are said to live on at {alias.to}: where the Hub can be reached they are taken from there"
        )
    other = _OTHER.get(kind, "a local path")
    lines.append(f"the SparseZoo service ended in 2025-06: give {other}, or put the folder {stub.path} under a root")
    return ZooError("\n    ".join(lines))
