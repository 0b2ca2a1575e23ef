"""Nodes to the parts of a recipe: stages, modifier entries and variables, none of them evaluated yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sparsify.errors import Problem
from sparsify.recipe.nodes import MappingNode, Mark, Node, ScalarNode, SequenceNode, SourceText, compose, problem
from sparsify.recipe.scalars import scalar

METADATA = "__metadata__"
_GROUP = "modifiers"
_CLASS_NAME = re.compile(r"[A-Z]\w*Modifier")
_TAG = re.compile(r"!(?:pytorch\.)?([A-Za-z_]\w*)")
_EXPECTED = (
    "list modifiers under a key that contains 'modifiers', for example  training_modifiers: [!EpochRangeModifier {...}]"
)


@dataclass(slots=True)
class Entry:
    """One modifier as written; ``body`` is None when it has no fields."""

    type: str
    mark: Mark
    path: str
    body: MappingNode | None


@dataclass(slots=True)
class Section:
    """A stage, or the top level of a recipe: entries, variables and metadata in file order."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    variables: dict[str, Node] = field(default_factory=dict)
    metadata: Node | None = None
    groups: list[tuple[str, Mark]] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """A parsed recipe. ``stages`` is empty for a recipe without stages: then ``root`` holds the entries."""

    root: Section
    stages: list[Section]
    problems: list[Problem]

    @property
    def sections(self) -> list[Section]:
        """The top level, then the stages."""
        return [self.root, *self.stages]


def parse(source: SourceText) -> Document:
    """Take a recipe's text apart; what is wrong with its structure is in ``problems``.

    Raises:
        RecipeError: The text is not YAML, or too large, deep or entangled.
    """
    document = Document(Section("default"), [], [])
    root = compose(source)
    reader = _Reader(document)
    if isinstance(root, SequenceNode) and root.tag is None:
        reader.entries(document.root, root, "")
    elif root is not None and _modifier_tag(root):
        reader.entry(document.root, root, "")
    elif isinstance(root, MappingNode):
        reader.top(root)
    elif root is not None:
        document.problems.append(problem(root.mark, "a recipe is a mapping or a list of modifiers", hint=_EXPECTED))
    if not document.problems and not any(section.entries for section in document.sections):
        document.problems.append(problem(source.mark(0, 0), "no modifiers found", hint=_EXPECTED))
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document

    def top(self, root: MappingNode) -> None:
        document = self.document
        for name, key, value in self.pairs(root):
            if isinstance(value, MappingNode) and _is_stage(value):
                document.stages.append(self.stage(name, value))
            else:
                self.member(document.root, name, key, value, name)
        if document.stages and document.root.groups:
            name, mark = document.root.groups[0]
            stages = ", ".join(stage.name for stage in document.stages)
            hint = f"move {name} into a stage of its own"
            self.report(mark, f"modifiers stand both at the top level and in stages ({stages})", name, hint)

    def stage(self, name: str, node: MappingNode) -> Section:
        section = Section(name)
        for member, key, value in self.pairs(node):
            self.member(section, member, key, value, f"{name}.{member}")
        return section

    def member(self, section: Section, name: str, key: Node, value: Node, path: str) -> None:
        if name == METADATA:
            section.metadata = value
        elif _GROUP in name:
            section.groups.append((name, key.mark))
            self.group(section, value, path)
        elif _modifier_tag(value) or _holds_modifiers(value):
            hint = f"rename {name} to {name.removesuffix('_modifier')}_modifiers"
            self.report(key.mark, f"modifiers stand under {name!r}, a key without 'modifiers' in its name", path, hint)
        else:
            section.variables[name] = value

    def group(self, section: Section, value: Node, path: str) -> None:
        if isinstance(value, SequenceNode) and value.tag is None:
            self.entries(section, value, path)
        elif _modifier_tag(value):
            self.entry(section, value, path)
        elif isinstance(value, MappingNode):
            for name, key, body in self.pairs(value):
                self.named(section, name, key, body, f"{path}.{name}")
        elif not (isinstance(value, ScalarNode) and value.text == "" and value.plain):
            self.report(value.mark, "expected a list of modifiers", path, _EXPECTED)

    def entries(self, section: Section, node: SequenceNode, path: str) -> None:
        for index, item in enumerate(node.items):
            self.entry(section, item, f"{path}[{index}]")

    def entry(self, section: Section, node: Node, path: str) -> None:
        tag = _modifier_tag(node)
        if tag is None:
            self.untagged(section, node, path)
        elif match := _TAG.fullmatch(tag):
            self.add(section, match[1], node, node, path)
        else:
            hint = "write  - !Name  without a colon, and its fields below" if tag.endswith(":") else None
            self.report(node.mark, f"{tag!r} is no modifier tag", path, hint)

    def untagged(self, section: Section, node: Node, path: str) -> None:
        if isinstance(node, MappingNode) and len(node.pairs) == 1:
            name, key, body = next(self.pairs(node), (None, node, node))
            if name is not None and _CLASS_NAME.fullmatch(name):
                self.named(section, name, key, body, path)
                return
        self.report(node.mark, "an entry of a modifiers list needs a tag", path, "begin it with  - !GMPruningModifier")

    def named(self, section: Section, name: str, key: Node, body: Node, path: str) -> None:
        if body.tag is not None:
            self.report(body.mark, f"{name} has a tag where its fields are expected", path)
        else:
            self.add(section, name, key, body, path)

    def add(self, section: Section, kind: str, place: Node, body: Node, path: str) -> None:
        empty = isinstance(body, ScalarNode) and body.text == "" and body.plain
        if isinstance(body, MappingNode):
            section.entries.append(Entry(kind, place.mark, path, body))
        elif empty or (isinstance(body, ScalarNode) and body.tag is None and body.text in ("null", "~")):
            section.entries.append(Entry(kind, place.mark, path, None))
        else:
            hint = f"write its fields as  {kind}  followed by indented  name: value  lines"
            self.report(body.mark, f"{kind} needs a mapping of fields", path, hint)

    def pairs(self, node: MappingNode) -> Iterator[tuple[str, Node, Node]]:
        """String keys with key and value nodes; other keys and repeated ones are reported and left out."""
        seen: dict[str, Mark] = {}
        for key, value in merged(node):
            name = _key(key)
            if name is None:
                self.report(key.mark, "a name is expected as key here", hint="quote it if it is meant as a word")
            elif name in seen:
                self.report(key.mark, f"duplicate key {name!r}", hint=f"first given in line {seen[name].line}")
            else:
                seen[name] = key.mark
                yield name, key, value

    def report(self, mark: Mark, message: str, path: str | None = None, hint: str | None = None) -> None:
        self.document.problems.append(problem(mark, message, path, hint))


def merged(node: MappingNode) -> list[tuple[Node, Node]]:
    """Pairs of a mapping with ``<<`` merged in: its own keys win over merged ones."""
    own = [(key, value) for key, value in node.pairs if not _is_merge(key, value)]
    names = {key.text for key, _ in own if isinstance(key, ScalarNode)}
    for key, value in node.pairs:
        if not _is_merge(key, value):
            continue
        for part in value.items if isinstance(value, SequenceNode) else [value]:
            fresh = [p for p in merged(part) if _text(p[0]) not in names] if isinstance(part, MappingNode) else []
            names |= {_text(p[0]) for p in fresh}
            own = [*own, *fresh]
    return own


def _is_merge(key: Node, value: Node) -> bool:
    if not (isinstance(key, ScalarNode) and key.plain and key.text == "<<"):
        return False
    parts = value.items if isinstance(value, SequenceNode) else [value]
    return all(isinstance(part, MappingNode) for part in parts)


def _text(key: Node) -> str:
    return key.text if isinstance(key, ScalarNode) else ""


def _key(key: Node) -> str | None:
    if not isinstance(key, ScalarNode):
        return None
    try:
        value = scalar(key)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _modifier_tag(node: Node) -> str | None:
    return node.tag if node.tag is not None and node.tag.startswith("!") and node.tag != "!" else None


def _is_stage(node: MappingNode) -> bool:
    return node.tag is None and any(_GROUP in _text(key) for key, _ in merged(node))


def _holds_modifiers(node: Node) -> bool:
    if isinstance(node, SequenceNode):
        return any(_modifier_tag(item) for item in node.items)
    if isinstance(node, MappingNode):
        return any(_CLASS_NAME.fullmatch(_text(key)) for key, _ in node.pairs)
    return False
