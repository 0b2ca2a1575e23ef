"""A recipe in the making: entries with their reasons, and what found no place in it; written as commented YAML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsify.recipe.scalars import written

WIDTH = 100
GROUPS = ("training", "pruning", "structure", "quantization", "distillation")


@dataclass
class Entry:
    """One modifier to write.

    Attributes:
        type: Its class.
        fields: Values by field, in the order in which they are written.
        notes: Why a field has its value, by field.
        comments: Lines above the entry.
        group: Which list it goes into: one of ``GROUPS``.
    """

    type: str
    fields: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    group: str = "pruning"


@dataclass
class Draft:
    """Entries, and what has no equivalent.

    Attributes:
        entries: In the order in which they are written within their group.
        lost: One sentence for each setting of the source that the recipe does not hold.
        variables: Written at the top.
    """

    entries: list[Entry] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Draft) -> None:
        """Take over all of ``other``."""
        self.entries += other.entries
        self.lost += [line for line in other.lost if line not in self.lost]
        self.variables |= other.variables


def write(draft: Draft, title: str) -> str:
    """The recipe's text: ``title`` and what was lost as comments, then the modifiers by kind."""
    lines = _comment([title])
    if draft.lost:
        lines += ["#", "# Not in this recipe:", *_comment(draft.lost, "#   - ", "#     ")]
    if draft.variables:
        lines += ["", *(f"{name}: {written(value)}" for name, value in draft.variables.items())]
    for group in GROUPS:
        entries = [entry for entry in draft.entries if entry.group == group]
        if entries:
            lines += ["", f"{group}_modifiers:"]
        for entry in entries:
            lines += _entry(entry)
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> list[str]:
    lines = [*_comment(entry.comments, "  # ", "  # "), f"  - !{entry.type}"]
    for name, value in entry.fields.items():
        lines += _comment([entry.notes[name]], "    # ", "    # ") if name in entry.notes else []
        lines += _field(name, value)
    return lines


def _field(name: str, value: Any) -> list[str]:
    line = f"    {name}: {written(value)}"
    if len(line) <= WIDTH or not isinstance(value, list | Mapping) or not value:
        return [line]
    if isinstance(value, list):
        return [f"    {name}:", *(f"      - {written(item)}" for item in value)]
    return [f"    {name}:", *(f"      {written(key)}: {written(item)}" for key, item in value.items())]


def _comment(texts: Iterable[str], first: str = "# ", rest: str = "# ") -> list[str]:
    found = []
    for text in texts:
        plain = "".join(char if char.isprintable() else " " for char in text)
        found += textwrap.wrap(plain, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)
    return found
