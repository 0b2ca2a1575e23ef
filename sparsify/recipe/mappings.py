"""Mappings of YAML nodes: merge keys, string keys, modifier tags, and the placeholders of templates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sparsify.recipe.document import Document
from sparsify.recipe.nodes import MappingNode, Node, ScalarNode, SequenceNode
from sparsify.recipe.scalars import scalar

_PLACEHOLDER = re.compile(r"[A-Za-z_][\w.]*")


def merged(node: MappingNode) -> list[tuple[Node, Node]]:
    """Pairs of a mapping with ``<<`` merged in: its own keys win over merged ones."""
    own = [(key, value) for key, value in node.pairs if not _is_merge(key, value)]
    names = {key.text for key, _ in own if isinstance(key, ScalarNode)}
    for key, value in node.pairs:
        if not _is_merge(key, value):
            continue
        for part in value.items if isinstance(value, SequenceNode) else [value]:
            fresh = [p for p in merged(part) if text_of(p[0]) not in names] if isinstance(part, MappingNode) else []
            names |= {text_of(p[0]) for p in fresh}
            own = [*own, *fresh]
    return own


def _is_merge(key: Node, value: Node) -> bool:
    if not (isinstance(key, ScalarNode) and key.plain and key.text == "<<"):
        return False
    parts = value.items if isinstance(value, SequenceNode) else [value]
    return all(isinstance(part, MappingNode) for part in parts)


def text_of(node: Node) -> str:
    """Text of a scalar, empty for other nodes."""
    return node.text if isinstance(node, ScalarNode) else ""


def string_key(key: Node) -> str | None:
    """A key that is read as a string; None for any other."""
    if not isinstance(key, ScalarNode):
        return None
    try:
        value = scalar(key)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def modifier_tag(node: Node) -> str | None:
    """A node's own tag (``!Name``), None where it has none or one of YAML's."""
    return node.tag if node.tag is not None and node.tag.startswith("!") and node.tag != "!" else None


def placeholder(node: Node) -> str | None:
    """``name`` for a node that is just ``{name}``: what a template (a Python format string) leaves to be filled in."""
    if not isinstance(node, MappingNode) or node.block or node.tag is not None or len(node.pairs) != 1:
        return None
    key, value = node.pairs[0]
    empty = isinstance(value, ScalarNode) and value.plain and value.tag is None and value.start == value.end
    name = key.text if empty and isinstance(key, ScalarNode) and key.plain and key.tag is None else ""
    return name if _PLACEHOLDER.fullmatch(name) else None


def nodes_in(node: Node) -> Iterator[Node]:
    """``node`` and all below it, aliases expanded."""
    yield node
    if isinstance(node, SequenceNode):
        for item in node.items:
            yield from nodes_in(item)
    elif isinstance(node, MappingNode):
        for key, value in node.pairs:
            yield from nodes_in(key)
            yield from nodes_in(value)


def all_nodes(document: Document) -> Iterator[Node]:
    """Every node of variables and of modifiers' fields."""
    for section in document.sections:
        for value in section.variables.values():
            yield from nodes_in(value)
        for entry in section.entries:
            if entry.body is not None:
                yield from nodes_in(entry.body)
