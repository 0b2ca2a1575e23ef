"""A recipe put together from several as one text of its own, each part of which still knows where it was written."""

from __future__ import annotations

from sparsify.errors import Problem, RecipeError
from sparsify.recipe.document import Document, Entry, Section
from sparsify.recipe.mappings import merged, modifier_tag, text_of
from sparsify.recipe.nodes import (
    MAX_CHARACTERS,
    MappingNode,
    Mark,
    Node,
    ScalarNode,
    SequenceNode,
    SourceText,
    problem,
)
from sparsify.recipe.parse import METADATA
from sparsify.recipe.scalars import scalar, written

_GROUP = "modifiers"


def flattened(document: Document, source: SourceText, header: str) -> SourceText:
    """``document`` written out in tag style, its anchors resolved, its expressions kept.

    Args:
        document: The merged recipe.
        source: The recipe that others were merged into.
        header: What came of it, for the first line, a comment.

    Raises:
        RecipeError: A value cannot be written, or the text gets too long.
    """
    writer = _Writer(source.mark(0, 0))
    writer.line(0, f"# {_printable(header)}")
    writer.section(document.root, 0)
    for stage in document.stages:
        writer.line(0, f"{written(stage.name)}:")
        writer.section(stage, 1)
    if writer.problems:
        raise RecipeError(writer.problems)
    text = "".join(f"{line}\n" for line in writer.lines)
    return SourceText(text, source.origin, source.file, lines=tuple(map(tuple, writer.pieces)))


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)


class _Writer:
    def __init__(self, first: Mark) -> None:
        self.lines: list[str] = []
        self.pieces: list[list[tuple[int, Mark]]] = []
        self.problems: list[Problem] = []
        self.length, self.last = 0, first

    def line(self, level: int, text: str, mark: Mark | None = None) -> None:
        """Begin a line; what goes without a place is placed where the last thing was."""
        self.lines.append("")
        self.pieces.append([])
        self.put("  " * level + text, mark or self.last)

    def put(self, text: str, mark: Mark | None = None) -> None:
        if mark is not None:
            self.last = mark
            line = self.lines[-1]
            self.pieces[-1].append((len(line) + (len(text) - len(text.lstrip()) if not line else 0), mark))
        self.lines[-1] += text
        self.length += len(text)
        if self.length > MAX_CHARACTERS:
            raise RecipeError(
                problem(self.last, f"too long with what it extends or goes on from: over {MAX_CHARACTERS} characters")
            )

    def section(self, section: Section, level: int) -> None:
        for name, node in section.variables.items():
            self.pair(level, name, node)
        for key, value in (("run_type", section.run_type), (METADATA, section.metadata)):
            if value is not None:
                self.pair(level, key, value)
        groups: dict[str, list[Entry]] = {}
        for entry in section.entries:
            groups.setdefault(entry.group or _GROUP, []).append(entry)
        for group, entries in groups.items():
            self.line(level, f"{written(group)}:", entries[0].mark)
            for entry in entries:
                self.entry(entry, level + 1)

    def entry(self, entry: Entry, level: int) -> None:
        self.line(level, "- ")
        self.put(f"!{entry.type}", entry.mark)
        for key, value in _unique(entry.body) if entry.body is not None else ():
            self.line(level + 1, "")
            self.value(key)
            self.put(": ")
            self.value(value)

    def pair(self, level: int, name: str, node: Node) -> None:
        self.line(level, f"{written(name)}: ")
        self.value(node)

    def value(self, node: Node) -> None:
        if modifier_tag(node):
            self.problems.append(problem(node.mark, f"tag {node.tag!r} cannot stand here"))
        elif isinstance(node, ScalarNode):
            self.put(self.scalar(node), node.mark)
        elif isinstance(node, SequenceNode):
            self.put("[", node.mark)
            for index, item in enumerate(node.items):
                self.put(", " if index else "")
                self.value(item)
            self.put("]")
        elif isinstance(node, MappingNode):
            self.put("{", node.mark)
            for index, (key, value) in enumerate(_unique(node)):
                self.put(", " if index else "")
                self.value(key)
                self.put(": ")
                self.value(value)
            self.put("}")

    def scalar(self, node: ScalarNode) -> str:
        try:
            value = scalar(node)
        except ValueError as error:
            self.problems.append(problem(node.mark, str(error)))
            return ""
        kept = node.plain and node.tag is None
        text = (node.text or "null") if kept and not isinstance(value, str) else written(value)
        # As many characters before an expression as there were, so that errors inside it are placed right.
        return f'"{text}"' if not node.plain and text.startswith("eval(") else text


def _unique(node: MappingNode) -> list[tuple[Node, Node]]:
    """Pairs with merge keys resolved; of scalar keys given twice the last, as everywhere."""
    last = {
        (type(key), text_of(key) if isinstance(key, ScalarNode) else id(key)): (key, value)
        for key, value in merged(node)
    }
    return list(last.values())
