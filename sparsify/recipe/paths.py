"""``path.field=value``: naming one field of one modifier, and setting it in a recipe's text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.document import Document, Entry
from sparsify.recipe.edits import Edits, as_written
from sparsify.recipe.expressions import near
from sparsify.recipe.mappings import merged, text_of
from sparsify.recipe.nodes import MappingNode, Node, SequenceNode, SourceText
from sparsify.recipe.overrides import read_value
from sparsify.recipe.parse import parse

FieldValues = Mapping[str, Any] | Sequence[str] | None
"""Values by path: a dict, or ``path=value`` texts."""
_FORM = "name a field:  pruning_modifiers[0].final_sparsity=0.8  or, of the only one,  GMPruningModifier.end_epoch=2"
_INDEX = re.compile(r"\[(\d+)\]")
_WHAT = "--set"

Parts = tuple[str, ...]


def read_fields(values: FieldValues) -> dict[str, Any]:
    """Paths and values, from any of their forms.

    Raises:
        RecipeError: A text is not ``path=value``, or a value is not YAML.
    """
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return {str(path): value for path, value in values.items()}
    result: dict[str, Any] = {}
    for text in [values] if isinstance(values, str) else values:
        path, sign, value = str(text).partition("=")
        if not sign or not path.strip():
            raise RecipeError(Problem(f"{_WHAT}: expected path.field=value, got {text!r}", hint=_FORM))
        result[path.strip()] = read_value(path.strip(), value.strip(), _WHAT)
    return result


def set_fields(source: SourceText, values: Mapping[str, Any]) -> tuple[SourceText, list[Problem]]:
    """``source`` with fields of modifiers set, one after another, its comments and layout kept.

    Args:
        source: A recipe that parses.
        values: By path: ``group[0].field``, ``group.0.field``, with ``stage.`` in front where there are stages; or
            ``Type.field`` for the only modifier of its type, ``Type[1].field`` for the second. Parts of a field
            follow: ``lr_kwargs.gamma``, ``params[0]``. The name of a variable alone sets that variable.

    Returns:
        The new source and what could not be set.
    """
    problems: list[Problem] = []
    for path, value in values.items():
        try:
            source = _set(source, path, as_written(value), problems)
        except ValueError as error:
            problems.append(Problem(f"{_WHAT} {path}: {error}", source.file, hint=_FORM))
    return source, problems


def _set(source: SourceText, path: str, value: str, problems: list[Problem]) -> SourceText:
    document = parse(source)
    parts = _parts(path)
    edits = Edits(source, _WHAT)
    if len(parts) == 1 and parts[0] in document.root.variables:
        edits.replace(document.root.variables[parts[0]], value)
        return edits.made(problems)
    entry, rest = _entry(document, parts)
    if entry is None:
        problems.append(Problem(f"{_WHAT} {path}: {rest[0]}", source.file, hint=rest[1]))
    elif not rest:
        problems.append(
            Problem(f"{_WHAT} {path}: this is a whole modifier, not a field of one", source.file, hint=_FORM)
        )
    elif entry.body is None:
        _fill(edits, entry, f"{{{rest[0]}: {value}}}" if len(rest) == 1 else "")
    elif trouble := _set_below(edits, entry.body, rest, value):
        problems.append(Problem(f"{_WHAT} {path}: {trouble}", source.file))
    return edits.made(problems)


def _fill(edits: Edits, entry: Entry, body: str) -> None:
    """Give fields to a modifier that has none."""
    if entry.empty is None or not body:
        raise ValueError("the modifier has no such field to set a part of")
    if entry.empty.tag is None:
        edits.replace(entry.empty, body)
    else:
        text = edits.source.text[: entry.empty.end].rstrip()
        edits.insert_text(max(len(text), entry.empty.start + len(entry.empty.tag)), f" {body}")


def _set_below(edits: Edits, node: Node, rest: Parts, value: str) -> str | None:
    """Set the part of ``node`` that ``rest`` names; what is wrong, or None."""
    name, *more = rest
    child = _child(node, name)
    own = child is not None and node.start <= child.start <= node.end
    if child is not None and own:
        if more:
            return _set_below(edits, child, tuple(more), value)
        edits.replace(child, value)
        return None
    if more or not isinstance(node, MappingNode):
        known = [text_of(key) for key, _ in merged(node)] if isinstance(node, MappingNode) else []
        return f"there is no {name!r} to set; {near(name, known, 'it has')}" if child is None else _SHARED
    if node.pairs and not node.start <= node.pairs[0][0].start <= node.end:
        return _SHARED
    edits.add_field(node, name, value)
    return None


_SHARED = "it stands in a part that an anchor shares with others: change the file there"


def _child(node: Node, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in merged(node) if text_of(key) == name), None)
    if isinstance(node, SequenceNode) and name.isdigit() and int(name) < len(node.items):
        return node.items[int(name)]
    return None


def _parts(path: str) -> Parts:
    return tuple(part for part in _INDEX.sub(r".\1", path).split(".") if part)


def _entry(document: Document, parts: Parts) -> tuple[Entry | None, Parts]:
    """The entry that ``parts`` begin with and what follows; without one, what is wrong and a hint."""
    by_path = [entry for entry in document.entries if parts[: len(_parts(entry.path))] == _parts(entry.path)]
    if by_path:
        longest = max(by_path, key=lambda entry: len(_parts(entry.path)))
        return longest, parts[len(_parts(longest.path)) :]
    stage = next((stage for stage in document.stages if parts[:1] == (stage.name,)), None)
    entries, rest = (stage.entries, parts[1:]) if stage else (document.entries, parts)
    same = [entry for entry in entries if rest[:1] == (entry.type,)]
    if not same:
        return None, _unknown(document, parts)
    if len(rest) > 1 and rest[1].isdigit():
        if int(rest[1]) < len(same):
            return same[int(rest[1])], rest[2:]
        return None, (f"there are {len(same)} of {rest[0]}, counted from 0", ", ".join(entry.path for entry in same))
    if len(same) > 1:
        return None, (f"{rest[0]} stands {len(same)} times", f"say which: {', '.join(e.path for e in same[:8])}")
    return same[0], rest[1:]


def _unknown(document: Document, parts: Parts) -> Parts:
    heads = {entry.path for entry in document.entries} | {entry.type for entry in document.entries}
    known = sorted(heads | set(document.root.variables))
    asked = ".".join(parts[:-1]) or parts[0] if parts else ""
    return "the recipe has no such modifier", near(asked, known, "it has")
