"""Where stubs are looked up: roots in order, aliases, the cache, and whether the network may be used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparsify.errors import ZooError

VARIABLE = "SPARSIFY_ZOO"
OFFLINE = "SPARSIFY_OFFLINE"
CACHE = "SPARSIFY_CACHE"
CONFIG = "SPARSIFY_CONFIG"
OLD_CACHE = "SPARSEZOO_MODELS_PATH"
_YES = ("1", "true", "yes", "on")

Progress = Callable[[str, int | None, int], contextlib.AbstractContextManager[Callable[[int], None]]]
"""From label, total bytes and bytes already there to a context that takes the count of each piece."""


@contextlib.contextmanager
def silent(label: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """No progress bar."""
    yield lambda count: None


@dataclass(frozen=True)
class Place:
    """A root: a folder or an fsspec address, and options for its file system (endpoint, anonymous access).

    Options may hold secrets, so they are never shown.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sparsezoo: bool = False
    """Whether this is where SparseZoo kept its downloads, by names of its own."""


@dataclass(frozen=True)
class Settings:
    """Everything that resolving depends on.

    Attributes:
        places: Roots in the order they are searched.
        offline: Never use the network; the cache is all there is.
        cache: Folder of fetched files.
        aliases: Stubs, and the stub or address that stands in for each; the user's own.
        progress: Called for each file that is fetched.
    """

    places: tuple[Place, ...]
    offline: bool
    cache: Path
    aliases: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = silent


@dataclass(frozen=True)
class _Override:
    zoo: tuple[str, ...] = ()
    offline: bool | None = None
    progress: Progress | None = None


_NOTHING = _Override()
_override: ContextVar[_Override] = ContextVar("zoo_override")


@contextlib.contextmanager
def using(
    zoo: Sequence[str | os.PathLike[str]] = (), offline: bool | None = None, progress: Progress | None = None
) -> Iterator[None]:
    """While inside, look in these roots first (``--zoo``), stay offline (``--offline``), show progress."""
    old = _override.get(_NOTHING)
    named = tuple(os.fspath(root) for root in zoo)
    new = replace(old, zoo=named + old.zoo)
    if offline is not None:
        new = replace(new, offline=offline)
    if progress is not None:
        new = replace(new, progress=progress)
    token = _override.set(new)
    try:
        yield
    finally:
        _override.reset(token)


def current() -> Settings:
    """What holds now: ``using``, the environment, the configuration file, SparseZoo's cache, the packaged recipes.

    Raises:
        ZooError: The configuration file is wrong.
    """
    override, config = _override.get(_NOTHING), _config()
    offline = override.offline
    if offline is None:
        offline = os.environ[OFFLINE].lower() in _YES if OFFLINE in os.environ else bool(config.get("offline", False))
    places = [
        *(Place(root) for root in override.zoo),
        *(Place(part) for part in split_roots(os.environ.get(VARIABLE, ""))),
        *config.get("roots", ()),
        *([Place(str(old_cache()), sparsezoo=True)] if old_cache().is_dir() else ()),
        Place(str(packaged())),
    ]
    once: dict[str, Place] = {}
    for place in places:
        once.setdefault(place.url, place)
    aliases = config.get("aliases", {})
    return Settings(tuple(once.values()), offline, cache_folder(config), aliases, override.progress or silent)


def split_roots(text: str) -> list[str]:
    """Roots of a variable, parted as in PATH; the colon of an address (``https://``) parts nothing."""
    if os.pathsep != ":":
        return [part.strip() for part in text.split(os.pathsep) if part.strip()]
    parts: list[str] = []
    for piece in text.split(":"):
        if piece.startswith("//") and parts and parts[-1].isalnum():
            parts[-1] += f":{piece}"
        elif parts and "://" in parts[-1] and piece.split("/", 1)[0].isdigit():
            parts[-1] += f":{piece}"  # a port
        else:
            parts.append(piece)
    return [part.strip() for part in parts if part.strip()]


def packaged() -> Path:
    """Folder of the recipes that come with the package (inside it when installed, beside it in a source tree)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def old_cache() -> Path:
    """Folder where SparseZoo kept its downloads."""
    return Path(os.environ.get(OLD_CACHE) or "~/.cache/sparsezoo").expanduser()


def cache_folder(config: Mapping[str, Any] | None = None) -> Path:
    """Folder of fetched files: ``SPARSIFY_CACHE``, the configuration's, else the user's cache folder."""
    named = os.environ.get(CACHE) or (config or {}).get("cache")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sparsify"
    return Path(named or base).expanduser() / "zoo"


def config_file() -> Path:
    """The user's configuration file, whether it exists or not."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "sparsify" / "zoo.yaml"
    return Path(os.environ.get(CONFIG) or base).expanduser()


def _config() -> dict[str, Any]:
    file = config_file()
    if not file.is_file():
        return {}
    from sparsify.zoo.textfile import read_yaml

    raw = read_yaml(file)
    known = {"roots", "aliases", "offline", "cache"}
    if not isinstance(raw, dict) or set(raw) - known:
        raise ZooError(f"{file}: only {', '.join(sorted(known))} may stand in it")
    aliases = raw.get("aliases") or {}
    if not isinstance(aliases, dict) or not all(isinstance(x, str) for pair in aliases.items() for x in pair):
        raise ZooError(f"{file}: aliases are pairs of a stub and a stub or address")
    if not isinstance(raw.get("cache", ""), str) or not isinstance(raw.get("offline", False), bool):
        raise ZooError(f"{file}: cache is a folder's name and offline is true or false")
    return {**raw, "aliases": aliases, "roots": [_place(entry, file) for entry in raw.get("roots") or ()]}


def _place(entry: Any, file: Path) -> Place:
    if isinstance(entry, str):
        return Place(entry)
    if isinstance(entry, dict) and isinstance(entry.get("url"), str) and set(entry) <= {"url", "options"}:
        options = entry.get("options") or {}
        if isinstance(options, dict):
            return Place(entry["url"], options)
    raise ZooError(f"{file}: a root is an address, or url and options")
