"""The tutorial that the user gave: its text, and the commands in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

SEED = "seeds/002_d4f4723b59018639.txt"


def document(shared: Path) -> str:
    return (shared / SEED).read_text(encoding="utf-8")


def commands(shared: Path, program: str) -> list[list[str]]:
    """Arguments of each command of the document whose program's name matches ``program``."""
    text = document(shared).replace("\\\n", " ")
    return [shlex.split(m.group(1)) for m in re.finditer(rf"^{program}[ ]+(--.*)$", text, re.MULTILINE)]


def training(shared: Path) -> list[list[str]]:
    found = commands(shared, r"sparseml\.transformers\.(?:train\.)?token_classification")
    assert len(found) == 3
    return found


def changed(argv: list[str], **values: str | None) -> list[str]:
    """``argv`` with other values for some flags; None takes a flag away."""
    out: list[str] = []
    index = 0
    while index < len(argv):
        name = argv[index].removeprefix("--")
        has_value = index + 1 < len(argv) and not argv[index + 1].startswith("--")
        if name in values:
            new = values[name]
            out += [] if new is None else [argv[index], new]
        else:
            out += argv[index : index + 1 + has_value]
        index += 1 + has_value
    return out
