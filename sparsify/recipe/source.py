"""Where recipe text comes from: a path, Markdown front matter, a string, a checkpoint folder, a zoo stub."""

from __future__ import annotations

import difflib
from pathlib import Path

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.nodes import MAX_CHARACTERS, MappingNode, SequenceNode, SourceText, compose
from sparsify.zoo.names import expanded
from sparsify.zoo.registry import recipe_in, resolve_recipe

CHECKPOINT_RECIPE = "recipe.yaml"
SUFFIXES = (".yaml", ".yml", ".md", ".json")
_FENCES = ("---", "+++")


def read_source(source: str | Path) -> SourceText:
    """Recipe text for what a user may name.

    Args:
        source: Path to a .yaml, .yml, .md or .json file; a folder with a ``recipe.yaml`` (a checkpoint); a ``zoo:``
            stub; or YAML text, which must hold a line break.

    Raises:
        RecipeError: Not readable as a recipe's text.
        ZooError: The stub is malformed or not found.
    """
    if isinstance(source, str) and source.startswith("zoo:"):
        return _file(resolve_recipe(source), source)
    if isinstance(source, str) and ("\n" in source or "\r" in source):
        return text_source(source)
    if not isinstance(source, str | Path):
        raise RecipeError(f"a recipe is named by a path, a zoo stub or YAML text, got {type(source).__name__}")
    if isinstance(source, str) and "://" in source:
        hint = "download it, or give a local path or a zoo: stub"
        raise RecipeError(Problem("recipes are not read from such addresses", source, hint=hint))
    return _file(_located(expanded(source), str(source)), str(source))


def text_source(text: str, origin: str = "<string>") -> SourceText:
    """``text`` as a source; Markdown front matter is recognized unless the text is several YAML documents."""
    text = _normal(text)
    cut = _front_matter(text, origin)
    if cut is not None and not _is_data(text, 0, cut.skipped - 1) and not _is_data(text, _end_line(cut) + 1, None):
        return cut
    return SourceText(text, origin, origin)


def _file(path: Path, origin: str) -> SourceText:
    text = _normal(_read(path))
    file, folder, confined = str(path), path.parent, origin.startswith("zoo:")
    if path.suffix.lower() == ".json":
        # JSON allows tabs between its parts, YAML does not; inside strings JSON has none.
        text = text.replace("\t", " ")
    if path.suffix.lower() != ".md":
        return SourceText(text, origin, file, folder=folder, confined=confined)
    cut = _front_matter(text, file)
    if cut is None:
        hint = "put the recipe between two lines that are just --- (or +++)"
        raise RecipeError(Problem("no front matter found in this Markdown file", file, 1, 1, hint=hint))
    return SourceText(cut.text, origin, file, cut.skipped, folder, confined)


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > 4 * MAX_CHARACTERS:
            raise RecipeError(Problem(f"too large: {size} bytes", str(path)))
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(Problem(f"cannot be read: {error.strerror}", str(path))) from error
    except ValueError as error:
        raise RecipeError(Problem("cannot be read: not UTF-8 text", str(path), hint="save it as UTF-8")) from error


def _normal(text: str) -> str:
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


def _located(path: Path, name: str) -> Path:
    try:
        if path.is_dir():
            return _inside(path)
        if not path.is_file():
            raise RecipeError(_missing(path, name))
    except (OSError, ValueError) as error:
        raise RecipeError(Problem(f"not a path: {error}", name[:80])) from error
    if path.suffix.lower() not in SUFFIXES:
        hint = f"recipes are {', '.join(SUFFIXES)} files"
        raise RecipeError(Problem(f"not a recipe file: suffix {path.suffix!r}", str(path), hint=hint))
    return path


def _inside(folder: Path) -> Path:
    if (folder / CHECKPOINT_RECIPE).is_file():
        return folder / CHECKPOINT_RECIPE
    if (of_entry := recipe_in(folder)) is not None:  # laid out as SparseZoo's downloads were
        return of_entry
    found = ", ".join(_recipes_in(folder)) or "no recipe files"
    raise RecipeError(Problem(f"the folder has no {CHECKPOINT_RECIPE}", str(folder), hint=f"in it: {found}"))


def _missing(path: Path, name: str) -> Problem:
    if any(sign in name for sign in ("{", "!", ": ")):
        return Problem("no such file", name[:80], hint="YAML text is told from a path by a line break: end it with one")
    folder = path.parent
    if path.is_symlink():
        return Problem("no such file", name, hint=f"it is a link to {path.readlink()}, which is not there")
    if not folder.is_dir():
        return Problem("no such file", name, hint=f"there is no folder {folder}")
    files = _recipes_in(folder)
    near = difflib.get_close_matches(path.name, files, n=3, cutoff=0.6)
    hint = f"{folder} holds {', '.join(files[:8]) or 'no recipe files'}"
    if near:
        hint = f"did you mean {' or '.join(str(folder / n) for n in near)}?"
    return Problem("no such file", name, hint=hint)


def _recipes_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES)


def _front_matter(text: str, file: str) -> SourceText | None:
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.rstrip() in _FENCES), None)
    if first is None:
        return None
    fence = lines[first].rstrip()
    last = next((i for i in range(first + 1, len(lines)) if lines[i].rstrip() == fence), None)
    if last is None:
        return None
    return SourceText("".join(f"{line}\n" for line in lines[first + 1 : last]), file, file, first + 1)


def _end_line(cut: SourceText) -> int:
    return cut.skipped + cut.text.count("\n")


def _is_data(text: str, first: int, last: int | None) -> bool:
    """Whether these lines hold YAML data (a mapping or a list) and not just prose or comments."""
    part = "\n".join(text.split("\n")[first:last]) + "\n"
    try:
        return isinstance(compose(SourceText(part, "", "")), MappingNode | SequenceNode)
    except RecipeError:
        return False
