"""Stubs to folders: the roots of ``SPARSIFY_ZOO``, then the packaged recipes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo.stub import PREFIX, Stub, parse_stub

VARIABLE = "SPARSIFY_ZOO"
_RECIPE_SUFFIXES = (".yaml", ".yml", ".md", ".json")
_DEPTH = 7
_MOST_ENTRIES = 5000


def roots() -> list[Path]:
    """Zoo folders in the order they are searched: those of ``SPARSIFY_ZOO``, then the packaged one."""
    named = [Path(part).expanduser() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part.strip()]
    return [*named, packaged()]


def packaged() -> Path:
    """Folder of the recipes that come with the package (inside it when installed, beside it in a source tree)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def resolve_recipe(stub: str) -> Path:
    """Recipe file of a stub: ``recipe.yaml``, or ``recipe_NAME.yaml`` for ``?recipe=NAME`` (also .yml, .md, .json).

    Raises:
        ZooError: Malformed, or no root has it.
    """
    parsed = parse_stub(stub)
    name = f"recipe_{parsed.recipe}" if parsed.recipe else "recipe"
    for folder in _folders(parsed):
        for suffix in _RECIPE_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    raise _unresolved(parsed, "recipe", f"{name}.yaml")


def resolve_model(stub: str) -> Path:
    """Folder with the trained model of a stub: its ``training/``.

    Raises:
        ZooError: Malformed, or no root has it.
    """
    parsed = parse_stub(stub)
    for folder in _folders(parsed):
        if (folder / "training").is_dir():
            return folder / "training"
        if (folder / "config.json").is_file():
            return folder
    raise _unresolved(parsed, "model", "training/")


def entries() -> list[str]:
    """Stubs of everything found under the roots, sorted."""
    return sorted({f"{PREFIX}{path.relative_to(root).as_posix()}" for root in roots() for path in _walk(root, 0)})


def _folders(stub: Stub) -> list[Path]:
    return [folder for root in roots() if (folder := root / stub.path).is_dir()]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if depth == _DEPTH:
        yield folder
        return
    try:
        below = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for entry in below[:_MOST_ENTRIES]:
        yield from _walk(entry, depth + 1)


def _unresolved(stub: Stub, kind: str, file: str) -> ZooError:
    lines = [f"no {kind} found for {stub}"]
    if folders := _folders(stub):
        lines += [f"{folder} has no {file}; in it: {_listing(folder)}" for folder in folders]
    searched = ", ".join(f"{root}{'' if root.is_dir() else ' (missing)'}" for root in roots())
    lines.append(f"searched: {searched} (set {VARIABLE} to add roots)")
    near = difflib.get_close_matches(f"{PREFIX}{stub.path}", [e for e in entries() if e != f"{PREFIX}{stub.path}"], n=3)
    if near:
        lines.append(f"nearest: {', '.join(near)}")
    other = "a local path or a Hub id" if kind == "model" else "a local path or YAML text"
    lines.append(f"the SparseZoo service ended in 2025-06: give {other}, or put the folder {stub.path} under a root")
    return ZooError("\n    ".join(lines))


def _listing(folder: Path) -> str:
    return ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
