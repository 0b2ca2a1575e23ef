"""Where stubs are looked up: roots in order, aliases, the cache, and whether the network may be used."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparsify.errors import ZooError
from sparsify.zoo.names import expanded

VARIABLE = "SPARSIFY_ZOO"
OFFLINE = "SPARSIFY_OFFLINE"
CACHE = "SPARSIFY_CACHE"
CONFIG = "SPARSIFY_CONFIG"
OLD_CACHE = "SPARSEZOO_MODELS_PATH"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_KEYS = ("aliases", "cache", "offline", "roots")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*")

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
    zoo: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Iterator[None]:
    """While inside, look in these roots first (``--zoo``), stay offline (``--offline``), show progress."""
    old = _override.get(_NOTHING)
    roots = (zoo,) if isinstance(zoo, str | os.PathLike) else zoo
    named = tuple(os.fspath(root) for root in roots)
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
        ZooError: The configuration file is wrong, or the environment's word on offline is neither yes nor no.
    """
    override, config = _override.get(_NOTHING), _config()
    offline = override.offline
    if offline is None:
        offline = _told_offline() if os.environ.get(OFFLINE) else bool(config.get("offline", False))
    places = [
        *(_named(root, config) for root in override.zoo),
        *(_named(part, config) for part in split_roots(os.environ.get(VARIABLE, ""))),
        *config.get("roots", ()),
        *([Place(str(old_cache()), sparsezoo=True)] if old_cache().is_dir() else ()),
        Place(str(packaged())),
    ]
    once: dict[str, Place] = {}
    for place in places:
        once.setdefault(place.url.rstrip("/"), place)
    aliases = config.get("aliases", {})
    return Settings(tuple(once.values()), offline, cache_folder(config), aliases, override.progress or silent)


def place(url: str) -> Place:
    """A root that is named by its address, with the options that the configuration has for it.

    Raises:
        ZooError: The configuration file is wrong.
    """
    return _named(url, _config())


def _named(url: str, config: Mapping[str, Any]) -> Place:
    configured: Sequence[Place] = config.get("roots", ())
    return Place(url, next((known.options for known in configured if known.url.rstrip("/") == url.rstrip("/")), {}))


def _told_offline() -> bool:
    word = os.environ[OFFLINE].strip().lower()
    if word not in (*_YES, *_NO):
        raise ZooError(f"{OFFLINE} is {os.environ[OFFLINE]!r}: say {', '.join(_YES)}, or {', '.join(_NO)}")
    return word in _YES


def split_roots(text: str) -> list[str]:
    """Roots of a variable, parted as in PATH; the colon of an address (``https://``) parts nothing."""
    if os.pathsep != ":":
        return [part.strip() for part in text.split(os.pathsep) if part.strip()]
    parts: list[str] = []
    for piece in text.split(":"):
        if parts and _goes_on(parts[-1].strip(), piece):
            parts[-1] += f":{piece}"
        else:
            parts.append(piece)
    return [part.strip() for part in parts if part.strip()]


def _goes_on(before: str, piece: str) -> bool:
    """Whether the colon between two pieces is of an address: of its scheme, its user, its IPv6 host or its port."""
    if piece.startswith("//"):
        return _SCHEME.fullmatch(before) is not None
    _, scheme, host = before.partition("://")
    if not scheme or "/" in host:
        return False
    begun = piece.strip().split("/", 1)[0]
    return begun.isdigit() or "@" in begun or ("[" in host and "]" not in host)


def packaged() -> Path:
    """Folder of the recipes that come with the package (inside it when installed, beside it in a source tree)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def old_cache() -> Path:
    """Folder where SparseZoo kept its downloads."""
    return expanded(os.environ.get(OLD_CACHE) or "~/.cache/sparsezoo")


def cache_folder(config: Mapping[str, Any] | None = None) -> Path:
    """Folder of fetched files: ``SPARSIFY_CACHE``, the configuration's, else the user's cache folder."""
    named = os.environ.get(CACHE) or (config or {}).get("cache")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sparsify"
    return expanded(named or base) / "zoo"


def config_file() -> Path:
    """The user's configuration file, whether it exists or not."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "sparsify" / "zoo.yaml"
    return expanded(os.environ.get(CONFIG) or base)


def _config() -> dict[str, Any]:
    file = config_file()
    if not file.is_file():
        return {}
    from sparsify.zoo.textfile import read_yaml

    raw = read_yaml(file)
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ZooError(f"{file}: only {', '.join(_KEYS)} may stand in it")
    if wrong := [str(key) for key in raw if key not in _KEYS]:
        near = difflib.get_close_matches(wrong[0], _KEYS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ZooError(f"{file}: only {', '.join(_KEYS)} may stand in it, got {wrong[0]!r}{meant}")
    aliases = raw.get("aliases") or {}
    if not isinstance(aliases, dict) or not all(isinstance(x, str) for pair in aliases.items() for x in pair):
        raise ZooError(f"{file}: aliases are pairs of a stub and a stub or address")
    if not isinstance(raw.get("cache", ""), str) or not isinstance(raw.get("offline", False), bool):
        raise ZooError(f"{file}: cache is a folder's name and offline is true or false")
    listed = raw.get("roots") if raw.get("roots") is not None else []
    if not isinstance(listed, list):
        shown = type(listed).__name__
        raise ZooError(f"{file}: roots is a list, got {shown}: write it as\n    roots:\n      - ~/zoo")
    return {**raw, "aliases": aliases, "roots": [_place(entry, file) for entry in listed]}


def _place(entry: Any, file: Path) -> Place:
    if isinstance(entry, str):
        return Place(entry)
    if isinstance(entry, dict) and isinstance(entry.get("url"), str) and set(entry) <= {"url", "options"}:
        options = entry.get("options") or {}
        if _are_options(options):
            return Place(entry["url"], options)
    raise ZooError(
        f"{file}: a root is an address, or url and options (names and values; headers and client_kwargs alike)"
    )


def _are_options(options: object) -> bool:
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        return False
    return all(isinstance(options.get(name, {}), dict) for name in ("headers", "client_kwargs"))
