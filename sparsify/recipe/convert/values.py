"""Taking values out of somebody else's configuration: checked, and with an eye on what was never asked for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sparsify.errors import Problem, RecipeError

MISSING = object()
TAG = "__tag__"
"""Key under which a mapping keeps its YAML tag, or the name of the Python class that it was written as."""


class Fields:
    """One mapping of a configuration.

    Args:
        config: Its keys and values.
        path: Where it stands, for errors.

    Every getter remembers its key; ``unknown`` lists the others. A value of the wrong kind raises ``RecipeError`` with
    the key, the value and what it should be.
    """

    def __init__(self, config: Mapping[str, Any], path: str = "") -> None:
        self.config, self.path = config, path
        self._asked: set[str] = {TAG}

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it is; ``None`` counts as left out."""
        self._asked.add(key)
        value = self.config.get(key)
        return default if value is None or value == "None" else value

    def has(self, key: str) -> bool:
        """Whether it is given."""
        return self.get(key, MISSING) is not MISSING

    def number(self, key: str, default: float, least: float = 0.0, most: float = math.inf) -> float:
        """A number from ``least`` to ``most``; words such as ``1e-4`` count."""
        value = self.get(key, default)
        found = _number(value)
        if found is None or not least <= found <= most:
            bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
            raise self.error(key, f"a number {bounds}, got {value!r}")
        return found

    def whole(self, key: str, default: int, least: int = 0) -> int:
        """A whole number of at least ``least``."""
        found = self.number(key, default, least)
        if not found.is_integer():
            raise self.error(key, f"a whole number, got {found:g}")
        return int(found)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(key, default)
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise self.error(key, f"true or false, got {value!r}")
        return bool(value)

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of ``choices``."""
        value = self.get(key, default)
        if not isinstance(value, str) or value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self.error(key, f"one of {', '.join(choices)}, got {value!r}{hint}")
        return value

    def names(self, key: str, default: Sequence[str] = ()) -> list[str]:
        """A list of texts; a single text is a list of one."""
        value = self.get(key, list(default))
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list | tuple) or not all(isinstance(name, str) and name for name in found):
            raise self.error(key, f"a list of names, got {value!r}")
        return list(found)

    def numbers(self, key: str, default: Sequence[float]) -> list[float]:
        """A list of numbers of at least 0."""
        value = self.get(key, list(default))
        found = [_number(item) for item in value] if isinstance(value, list | tuple) else [None]
        if not all(item is not None and item >= 0 for item in found):
            raise self.error(key, f"a list of numbers of at least 0, got {value!r}")
        return [item for item in found if item is not None]

    def mapping(self, key: str) -> Fields:
        """A mapping within, empty where left out."""
        value = self.get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, f"a mapping, got {value!r}")
        return Fields(value, self.at(key))

    def mappings(self, key: str) -> list[Fields]:
        """A list of mappings; a single mapping is a list of one."""
        value = self.get(key, [])
        items = [value] if isinstance(value, Mapping) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, Mapping) for item in items):
            raise self.error(key, f"a list of mappings, got {value!r}")
        return [Fields(item, f"{self.at(key)}[{index}]") for index, item in enumerate(items)]

    def at(self, key: str) -> str:
        """Path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, wanted: str) -> RecipeError:
        """An error that names the key and what it should hold."""
        return RecipeError(Problem(f"{key} is {wanted}", path=self.at(key)))

    def unknown(self, known: Collection[str] = ()) -> list[str]:
        """A sentence for each key that nobody asked for and that is not among ``known``."""
        names = sorted({*known, *self._asked} - {TAG})
        found = []
        for key in self.config:
            if key in self._asked or key in known:
                continue
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.75)
            hint = f" (did you mean {near[0]}?)" if near else ""
            found.append(f"{self.at(str(key))}: unknown, left out{hint}")
        return found


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or math.isnan(value):
        return None
    return float(value)
