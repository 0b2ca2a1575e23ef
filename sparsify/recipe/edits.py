"""Changes to a recipe's text at its nodes' marks: comments, layout and everything else stay as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sparsify.errors import Problem
from sparsify.recipe.document import Document
from sparsify.recipe.mappings import modifier_tag
from sparsify.recipe.nodes import MappingNode, Node, SourceText, problem
from sparsify.recipe.scalars import written

# What may stand before a value: anchors, and the comments and line breaks after them.
_ANCHOR = re.compile(r"&[^\s,\[\]{}]+")
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*)*")


@dataclass(slots=True)
class Edits:
    """Changes to one text, made together.

    Attributes:
        source: What is changed.
        what: Who asks, for messages: ``recipe_args`` or ``--set``.
    """

    source: SourceText
    what: str
    _spans: dict[tuple[int, int], str] = field(default_factory=dict)
    _lines: list[tuple[int, str, str]] = field(default_factory=list)

    def replace(self, node: Node, value: str) -> None:
        """Put ``value`` (YAML on one line) where ``node`` stands; the text keeps its number of lines."""
        text = self.source.text
        self._spans[_span(text, node)] = _fitted(text, node, value)

    def insert_line(self, index: int, line: str, label: str) -> None:
        """Put a whole line before the line that holds character ``index``; errors in it name ``label``."""
        at = self.source.text.rfind("\n", 0, index) + 1
        self._lines.append((at, line, label))

    def insert_text(self, index: int, piece: str) -> None:
        """Put ``piece`` before character ``index``; it must hold no line break."""
        self._spans[(index, index)] = self._spans.get((index, index), "") + piece

    def add_variable(self, document: Document, name: str, value: str) -> str | None:
        """Define a variable at the top of the text; what is wrong if there is no place for one."""
        root = document.node
        if not isinstance(root, MappingNode) or modifier_tag(root):
            return "the recipe is a bare list of modifiers, which has no variables"
        if root.block:
            start = root.pairs[0][0].start if root.pairs else root.start
            self.insert_line(start, f"{name}: {value}", f"{self.what} {name}")
        else:
            self.insert_text(self.source.text.index("{", root.start) + 1, f'"{name}": {value}, ')
        return None

    def add_field(self, body: MappingNode, name: str, value: str) -> None:
        """Give a mapping one more pair, behind its last."""
        text = self.source.text
        pair = f"{written(name)}: {value}"
        if not body.block:
            comma = ", " if body.pairs else ""
            self.insert_text(body.pairs[-1][1].end if body.pairs else text.index("{", body.start) + 1, comma + pair)
            return
        key, last = body.pairs[-1]
        column = key.start - (text.rfind("\n", 0, key.start) + 1)
        end = max(last.end, key.end + 1)
        end = end if text[end - 1] == "\n" else text.find("\n", end) + 1 or len(text)
        self._lines.append((end, " " * column + pair, f"{self.what} {name}"))

    def made(self, problems: list[Problem]) -> SourceText:
        """The changed source; changes within a part that is changed as a whole are ``problems``."""
        text, bound = self.source.text, len(self.source.text) + 1
        changes = [(start, end, new, 0, "") for (start, end), new in self._spans.items()]
        changes += [(at, at, f"{line}\n", 1, label) for at, line, label in self._lines]
        inserted: dict[int, str] = {}
        for start, end, new, added, label in sorted(changes, reverse=True):
            if end > bound:
                mark = self.source.mark_at(start)
                problems.append(problem(mark, f"{self.what} sets something and a part of it, shared by an anchor"))
                continue
            text, bound = text[:start] + new + text[end:], start
            if added:
                inserted = {line + 1: name for line, name in inserted.items()}
                inserted[text.count("\n", 0, start)] = label
        return self.source.edited(text, inserted)


def _span(text: str, node: Node) -> tuple[int, int]:
    """Where the value stands: behind its anchor, which stays, but with its type tag, which the new value may not fit."""
    match = None if node.tag else _PROPERTIES.match(text, node.start)
    start = min(match.end() if match else node.start, node.end)
    return start, start + len(text[start : node.end].rstrip())


def _fitted(text: str, node: Node, replacement: str) -> str:
    start, end = _span(text, node)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    # An empty value ends right behind the colon; a list may stand as far left as its key, where a value may not.
    lead = " " if line and not line[-1].isspace() and line[-1] not in "[{,(" else "  " if not line.strip() else ""
    properties = _PROPERTIES.match(text, start) if node.tag else None
    anchors = "".join(f"{anchor} " for anchor in _ANCHOR.findall(properties[0])) if properties else ""
    return lead + anchors + replacement + "\n" * text.count("\n", start, end)


def as_written(value: object) -> str:
    """``value`` as YAML on one line.

    Raises:
        ValueError: It has no such form.
    """
    try:
        return written(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
