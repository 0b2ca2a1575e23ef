"""YAML text to nodes that know where they stand. Data only, and bounded in size, depth and alias expansion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from sparsify.errors import Problem, RecipeError

MAX_CHARACTERS = 512 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
_SHORT_TAG = re.compile(r"!!?[^!]+")
_HALF = re.compile("[\ud800-\udfff]")
_SECOND = "a second YAML document begins here; a recipe is one"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(slots=True, kw_only=True)
class Node:
    """What all nodes have: a place, an explicit tag, and how much they hold when aliases are expanded."""

    mark: Mark
    start: int
    end: int
    tag: str | None
    block: bool = False
    size: int = 1
    height: int = 1


@dataclass(slots=True, kw_only=True)
class ScalarNode(Node):
    """A single value as written; ``plain`` if neither quoted nor a block scalar."""

    text: str
    plain: bool


@dataclass(slots=True, kw_only=True)
class SequenceNode(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class MappingNode(Node):
    """Keys and values in file order."""

    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SourceText:
    """Recipe text and where it came from.

    Attributes:
        text: The YAML, line breaks as ``\\n``.
        origin: What the user named: path, stub, or ``<string>``.
        file: What error messages name.
        skipped: Lines of the file before ``text`` begins (front matter).
        folder: Where relative paths in the text lead from; None: the current folder.
        confined: Whether it may name only files inside ``folder`` (recipes of a zoo).
        lines: For text put together from several places: for each line the columns (from 0) at which a piece from
            elsewhere begins, and its place there. None: the text is the file's own.
    """

    text: str
    origin: str
    file: str
    skipped: int = 0
    folder: Path | None = None
    confined: bool = False
    lines: tuple[tuple[tuple[int, Mark], ...], ...] | None = None

    def mark(self, line: int, column: int) -> Mark:
        """Place for a 0-based line and column of ``text``."""
        if self.lines is None:
            return Mark(self.file, line + 1 + self.skipped, column + 1)
        pieces = self.lines[min(line, len(self.lines) - 1)] if self.lines else ()
        begun = [piece for piece in pieces if piece[0] <= column] or list(pieces[:1])
        if not begun:
            return Mark(self.file, 1, 1)
        start, place = begun[-1]
        return Mark(place.file, place.line, place.column + max(0, column - start))

    def edited(self, text: str, inserted: Mapping[int, str] | None = None) -> SourceText:
        """The source with another text of as many lines, but for lines ``inserted`` (index in ``text``: their file)."""
        if not inserted:
            return replace(self, text=text)
        old = iter(range(self.text.count("\n") + 1))
        lines: list[tuple[tuple[int, Mark], ...]] = []
        for index in range(text.count("\n") + 1):
            if index in inserted:
                lines.append(((0, Mark(inserted[index], 1, 1)),))
            else:
                line = next(old)
                lines.append(self.lines[line] if self.lines and line < len(self.lines) else ((0, self.mark(line, 0)),))
        return replace(self, text=text, lines=tuple(lines))

    def mark_at(self, index: int) -> Mark:
        """Place of a character of ``text``."""
        before = self.text[:index]
        return self.mark(before.count("\n"), index - (before.rfind("\n") + 1))


def problem(mark: Mark, message: str, path: str | None = None, hint: str | None = None) -> Problem:
    """A problem at ``mark``."""
    return Problem(message, mark.file, mark.line, mark.column, path, hint)


def compose(source: SourceText) -> Node | None:
    """Root node of the one YAML document in ``source``; None if it is empty.

    Raises:
        RecipeError: Not YAML, more than one document, or beyond the bounds on size, depth and aliases.
    """
    if len(source.text) > MAX_CHARACTERS:
        place = source.mark(0, 0)
        raise RecipeError(problem(place, f"too long: {len(source.text)} characters, at most {MAX_CHARACTERS} are read"))
    return _Composer(source).document()


class _Composer:
    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.events = _events(source)
        self.anchors: dict[str, Node | None] = {}
        self.size = 0

    def document(self) -> Node | None:
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        root = self.node(next(self.events), 1)
        next(self.events)
        extra = next(self.events)
        if not isinstance(extra, yaml.StreamEndEvent):
            raise self.error(extra, _SECOND, "Markdown? Name the file .md")
        return root

    def node(self, event: yaml.Event, level: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, level)
        self.grow(event, 1, level)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None
        node = self.fresh(event, level)
        if anchor:
            self.anchors[anchor] = node
        return node

    def fresh(self, event: yaml.Event, level: int) -> Node:
        mark, start, end = self.mark(event), _index(event.start_mark), _index(event.end_mark)
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None
            return ScalarNode(mark=mark, start=start, end=end, tag=tag, text=_joined(event.value), plain=plain)
        block = not getattr(event, "flow_style", False)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(SequenceNode(mark=mark, start=start, end=end, tag=tag, block=block), level)
        return self.mapping(MappingNode(mark=mark, start=start, end=end, tag=tag, block=block), level)

    def alias(self, event: yaml.AliasEvent, level: int) -> Node:
        name = event.anchor
        if name not in self.anchors:
            known = ", ".join(f"&{a}" for a in self.anchors) or "none before this line"
            raise self.error(event, f"undefined alias *{name}", f"anchors: {known}")
        node = self.anchors[name]
        if node is None:
            raise self.error(event, f"alias *{name} stands inside what it names")
        self.grow(event, node.size, level + node.height - 1)
        start, end = _index(event.start_mark), _index(event.end_mark)
        return replace(node, mark=self.mark(event), start=start, end=end, block=False)

    def sequence(self, node: SequenceNode, level: int) -> Node:
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            node.items.append(self.node(event, level + 1))
        return self.closed(node, event, node.items)

    def mapping(self, node: MappingNode, level: int) -> Node:
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, level + 1)
            node.pairs.append((key, self.node(next(self.events), level + 1)))
        return self.closed(node, event, [part for pair in node.pairs for part in pair])

    def closed(self, node: Node, event: yaml.Event, children: list[Node]) -> Node:
        # A block collection's end mark lies beyond the comments that follow it.
        node.end = children[-1].end if node.block and children else _index(event.end_mark)
        node.size = 1 + sum(child.size for child in children)
        node.height = 1 + max((child.height for child in children), default=0)
        return node

    def grow(self, event: yaml.Event, size: int, level: int) -> None:
        self.size += size
        if level > MAX_DEPTH:
            raise self.error(event, f"nested deeper than {MAX_DEPTH} levels")
        if self.size > MAX_NODES:
            raise self.error(event, f"more than {MAX_NODES} values, aliases expanded")

    def error(self, event: yaml.Event, message: str, hint: str | None = None) -> RecipeError:
        return RecipeError(problem(self.mark(event), message, hint=hint))

    def mark(self, event: yaml.Event) -> Mark:
        where = event.start_mark
        return self.source.mark(where.line, where.column) if where else self.source.mark(0, 0)


class _Loader(yaml.SafeLoader):
    """Ends a tag where YAML 1.2 does: PyYAML takes the bracket of ``[!Name]`` for a part of it."""

    def scan_tag(self) -> yaml.TagToken:
        start, length = self.get_mark(), 1
        while (char := self.peek(length)) != "\0" and ((char.isascii() and char.isalnum()) or char in "!-_.:/+"):
            length += 1
        text = self.prefix(length)
        ends = ",]}" if self.flow_level else ""
        if not _SHORT_TAG.fullmatch(text) or char not in f"\0 \n{ends}":
            return super().scan_tag()
        self.forward(length)
        handle = "!!" if text.startswith("!!") else "!"
        return yaml.TagToken((handle, text[len(handle) :]), start, self.get_mark())


def _joined(text: str) -> str:
    """The text with halves of characters put together: JSON escapes those beyond ``\\uffff`` as two."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _index(mark: Any) -> int:
    return int(mark.index) if mark else 0


def _events(source: SourceText) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(source.text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_syntax(source, error)) from error
    except yaml.reader.ReaderError as error:
        where = source.mark_at(error.position)
        raise RecipeError(problem(where, f"not a text character: {error.character!r}")) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets chr() and int() fail on odd escapes
        raise RecipeError(problem(source.mark(0, 0), f"not valid YAML: {error}")) from error


def _syntax(source: SourceText, error: yaml.MarkedYAMLError) -> Problem:
    # What was never closed is found at the end of the text: where it was opened says more.
    unclosed = "<stream end>" in (error.problem or "") and error.context_mark is not None
    where = error.context_mark if unclosed else error.problem_mark or error.context_mark
    mark = source.mark(where.line, where.column) if where else source.mark(0, 0)
    what = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "indent with spaces, not tabs" if "'\\t'" in what else None
    language = "JSON" if mark.file.lower().endswith(".json") else "YAML"
    return problem(mark, f"not valid {language}: {what}", hint=hint)
