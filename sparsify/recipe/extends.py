"""``extends: OTHER``: a recipe that changes a few lines of another."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from sparsify.errors import Problem, RecipeError, ZooError
from sparsify.recipe.document import Document, Entry, Section
from sparsify.recipe.flatten import flattened
from sparsify.recipe.mappings import merged, text_of
from sparsify.recipe.nodes import MappingNode, Node, ScalarNode, SourceText, compose, problem
from sparsify.recipe.parse import parse
from sparsify.recipe.source import read_source

EXTENDS = "extends"
MAX_LEVELS = 8
_GROUP = "modifiers"
_FORM = f"write  {EXTENDS}: other.yaml  (from this file's folder), a folder with a recipe.yaml, or a zoo: stub"


def extended(source: SourceText, above: tuple[str, ...] = ()) -> SourceText:
    """``source`` itself, or where it has ``extends:``, one text of it and of what it extends.

    A variable or a field given in both has the value of the one that extends. Its modifiers change the modifier of
    the same type under the same key (and in the same stage) of the other, the second the second; those that have no
    such are added.

    Args:
        source: A recipe.
        above: Files of the recipes that lead here.

    Raises:
        RecipeError: The other recipe cannot be read, lies outside a zoo entry's folder, or extends this one.
    """
    name = _extended_name(source)
    if name is None:
        return source
    here = (*above, _identity(source))
    base = _base(source, name)
    if _identity(base) in here:
        circle = " -> ".join([*here[here.index(_identity(base)) :], _identity(base)])
        raise RecipeError(problem(name.mark, f"recipes extend each other in a circle: {circle}", EXTENDS))
    if len(here) > MAX_LEVELS:
        raise RecipeError(problem(name.mark, f"more than {MAX_LEVELS} recipes extend one another", EXTENDS))
    below = parse(extended(base, here), complete=False)
    document = parse(source, complete=False)
    if problems := [*document.problems, *below.problems]:
        raise RecipeError(problems)
    document.root.variables.pop(EXTENDS, None)
    return flattened(
        _joined(below, document), source, f"{source.origin}, written out with what it extends: {name.text}"
    )


def _extended_name(source: SourceText) -> ScalarNode | None:
    if EXTENDS not in source.text:
        return None
    root = compose(source)
    found = [v for k, v in merged(root) if text_of(k) == EXTENDS] if isinstance(root, MappingNode) else []
    if not found:
        return None
    node = found[-1]
    if not isinstance(node, ScalarNode) or not node.text.strip() or "\n" in node.text or node.tag is not None:
        raise RecipeError(problem(node.mark, "it must name one other recipe", EXTENDS, _FORM))
    return node


def _identity(source: SourceText) -> str:
    """The file a source stands for, the same however it is named."""
    return str(Path(source.file).resolve()) if source.folder is not None else source.file


def _base(source: SourceText, name: ScalarNode) -> SourceText:
    try:
        if name.text.startswith("zoo:") or "://" in name.text:
            return read_source(name.text)
        path = (source.folder or Path()) / (name.text if source.confined else Path(name.text).expanduser())
        _check_inside(source, path, name)
        found = read_source(path)
        _check_inside(source, Path(found.file), name)
        return replace(found, confined=source.confined)
    except RecipeError as error:
        raise RecipeError([_placed(p, name) for p in error.problems]) from error
    except ZooError as error:
        raise RecipeError(problem(name.mark, str(error), EXTENDS)) from error
    except (OSError, ValueError, RuntimeError) as error:  # names that no file can have; a home that is not known
        raise RecipeError(problem(name.mark, f"not a path: {error}", EXTENDS, _FORM)) from error


def _check_inside(source: SourceText, path: Path, name: ScalarNode) -> None:
    folder = source.folder
    if source.confined and folder is not None and not path.resolve().is_relative_to(folder.resolve()):
        message = f"{name.text!r} lies outside the folder of a recipe that comes from a zoo"
        raise RecipeError(problem(name.mark, message, EXTENDS, "name a zoo: stub, or a recipe beside it"))


def _placed(found: Problem, name: Node) -> Problem:
    if found.line is not None:
        return found
    where = f": {found.file}" if found.file else ""
    return problem(name.mark, f"{found.message}{where}", EXTENDS, found.hint)


def _joined(below: Document, own: Document) -> Document:
    stages = {stage.name: stage for stage in below.stages}
    for stage in own.stages:
        stages[stage.name] = _section(stages[stage.name], stage) if stage.name in stages else stage
    return Document(_section(below.root, own.root), list(stages.values()), [])


def _section(below: Section, own: Section) -> Section:
    counts: Counter[tuple[str, str]] = Counter()
    changes: dict[tuple[str, str, int], Entry] = {}
    for entry in own.entries:
        changes[_nth(counts, entry)] = entry
    counts.clear()
    entries = []
    for entry in below.entries:
        change = changes.pop(_nth(counts, entry), None)
        entries.append(entry if change is None else replace(entry, mark=change.mark, body=_body(entry, change)))
    return Section(
        below.name,
        [*entries, *changes.values()],
        {**below.variables, **own.variables},
        own.metadata or below.metadata,
        [*below.groups, *own.groups],
        own.run_type or below.run_type,
    )


def _nth(counts: Counter[tuple[str, str]], entry: Entry) -> tuple[str, str, int]:
    group = entry.group or _GROUP
    counts[group, entry.type] += 1
    return group, entry.type, counts[group, entry.type]


def _body(entry: Entry, change: Entry) -> MappingNode | None:
    if entry.body is None or change.body is None:
        return entry.body or change.body
    fields = {text_of(key): (key, value) for key, value in merged(entry.body)}
    fields |= {text_of(key): (key, value) for key, value in merged(change.body)}
    return replace(entry.body, pairs=list(fields.values()))
