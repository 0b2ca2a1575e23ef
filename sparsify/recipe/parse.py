"""Nodes to the parts of a recipe: stages, modifier entries and variables, in every style that people wrote."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from sparsify.recipe.document import DEFAULT, Document, Entry, Section
from sparsify.recipe.mappings import merged, modifier_tag, string_key, text_of
from sparsify.recipe.nodes import MappingNode, Mark, Node, ScalarNode, SequenceNode, SourceText, compose, problem
from sparsify.recipe.scalars import resolve

METADATA = "__metadata__"
RUN_TYPES = ("train", "oneshot")
_GROUP = "modifiers"
_STAGES = "stages"
_CLASS_NAME = re.compile(r"[A-Z]\w*Modifier")
_TAG = re.compile(r"!(?:pytorch\.)?([A-Za-z_]\w*)(:?)")
_EXPECTED = (
    "list modifiers under a key that contains 'modifiers', for example  training_modifiers: [!EpochRangeModifier {...}]"
)


def parse(source: SourceText, complete: bool = True) -> Document:
    """Take a recipe's text apart; what is wrong with its structure is in ``problems``.

    Args:
        source: The text.
        complete: Whether a recipe without any modifier is a problem.

    Raises:
        RecipeError: The text is not YAML, or too large, deep or entangled.
    """
    root = compose(source)
    document = Document(Section(DEFAULT), [], [], node=root)
    reader = _Reader(document)
    if isinstance(root, SequenceNode) and root.tag is None:
        reader.entries(document.root, root, "", "")
    elif root is not None and modifier_tag(root):
        reader.entry(document.root, root, "", "")
    elif isinstance(root, MappingNode):
        reader.top(root)
    elif root is not None:
        document.problems.append(problem(root.mark, "a recipe is a mapping or a list of modifiers", hint=_EXPECTED))
    if complete and not document.problems and not document.entries:
        document.problems.append(problem(source.mark(0, 0), _no_modifiers(root), hint=_EXPECTED))
    return document


def _no_modifiers(root: Node | None) -> str:
    if isinstance(root, MappingNode) and root.pairs:
        keys = ", ".join(text_of(key) for key, _ in root.pairs[:6])
        return f"no modifiers found: a mapping with the keys {keys}, none of which holds modifiers, is no recipe"
    return "no modifiers found"


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document

    def top(self, root: MappingNode) -> None:
        document = self.document
        for name, key, value in self.pairs(root):
            if isinstance(value, MappingNode) and _is_stage(name, value):
                document.stages.append(self.stage(name, value))
            elif name == _STAGES and isinstance(value, MappingNode) and _holds_stages(value):
                document.stages += [self.stage(stage, body) for stage, _, body in self.stages(value)]
            else:
                self.member(document.root, name, key, value, name)
        if document.stages and document.root.groups:
            name, mark = document.root.groups[0]
            stages = ", ".join(stage.name for stage in document.stages)
            hint = f"move {name} into a stage of its own"
            self.report(mark, f"modifiers stand both at the top level and in stages ({stages})", name, hint)

    def stages(self, node: MappingNode) -> Iterator[tuple[str, Node, MappingNode]]:
        for name, key, body in self.pairs(node):
            if isinstance(body, MappingNode):
                yield name, key, body
            else:
                self.report(body.mark, f"stage {name!r} must be a mapping", f"{_STAGES}.{name}", _EXPECTED)

    def stage(self, name: str, node: MappingNode) -> Section:
        section = Section(name)
        for member, key, value in self.pairs(node):
            path = f"{name}.{member}"
            if member == "run_type":
                section.run_type = value
                self.check_run_type(value, path)
            elif _CLASS_NAME.fullmatch(member) and not modifier_tag(value):
                self.warn(key.mark, f"{member} stands in the stage itself: taken for one of its modifiers", path)
                section.groups.append((member, key.mark))
                self.named(section, member, key, value, path, "modifiers")
            else:
                self.member(section, member, key, value, path)
        return section

    def check_run_type(self, value: Node, path: str) -> None:
        if text_of(value) not in RUN_TYPES:
            near = difflib.get_close_matches(text_of(value), RUN_TYPES, n=1)
            hint = f"did you mean {near[0]}?" if near else None
            self.report(value.mark, f"run_type is train or oneshot, got {text_of(value)!r}", path, hint)

    def member(self, section: Section, name: str, key: Node, value: Node, path: str) -> None:
        if name == METADATA:
            section.metadata = value
        elif _GROUP in name or modifier_tag(value) or _holds_modifiers(value):
            if _GROUP not in name and not modifier_tag(value):
                hint = f"rename {name} to {name.removesuffix('_modifier')}_modifiers"
                self.warn(key.mark, f"modifiers stand under {name!r}, a key without 'modifiers' in it", path, hint)
            section.groups.append((name, key.mark))
            self.group(section, value, path, name)
        else:
            section.variables[name] = value

    def group(self, section: Section, value: Node, path: str, group: str) -> None:
        if isinstance(value, SequenceNode) and value.tag is None:
            self.entries(section, value, path, group)
        elif modifier_tag(value):
            self.entry(section, value, path, group)
        elif isinstance(value, MappingNode):
            for name, key, body in self.pairs(value):
                self.named(section, name, key, body, f"{path}.{name}", group)
        elif not _is_null(value):
            self.report(value.mark, "expected a list of modifiers", path, _EXPECTED)

    def entries(self, section: Section, node: SequenceNode, path: str, group: str) -> None:
        for index, item in enumerate(node.items):
            self.entry(section, item, f"{path}[{index}]", group)

    def entry(self, section: Section, node: Node, path: str, group: str) -> None:
        tag = modifier_tag(node)
        if tag is None:
            self.untagged(section, node, path, group)
        elif match := _TAG.fullmatch(tag):
            if match[2]:
                self.warn(node.mark, f"the colon after {tag.rstrip(':')} has no meaning: taken for a tag", path)
            self.add(section, match[1], node, node, path, group)
        else:
            self.report(node.mark, f"{tag!r} is no modifier tag", path, "begin it with  - !GMPruningModifier")

    def untagged(self, section: Section, node: Node, path: str, group: str) -> None:
        if isinstance(node, MappingNode) and len(node.pairs) == 1:
            name, key, body = next(self.pairs(node), (None, node, node))
            if name is not None and _CLASS_NAME.fullmatch(name):
                self.named(section, name, key, body, path, group)
                return
        what = "an entry of a modifiers list needs a tag"
        if node.tag is not None:
            what = f"tag {node.tag.replace('tag:yaml.org,2002:', '!!')!r} is no modifier's"
        self.report(node.mark, what, path, "begin it with  - !GMPruningModifier")

    def named(self, section: Section, name: str, key: Node, body: Node, path: str, group: str) -> None:
        if body.tag is not None:
            self.report(body.mark, f"{name} has a tag where its fields are expected", path)
        else:
            self.add(section, name, key, body, path, group)

    def add(self, section: Section, kind: str, place: Node, body: Node, path: str, group: str) -> None:
        if isinstance(body, MappingNode):
            section.entries.append(Entry(kind, place.mark, path, body, group))
        elif _is_null(body):
            section.entries.append(Entry(kind, place.mark, path, None, group, body))
        else:
            hint = f"write its fields as  {kind}  followed by indented  name: value  lines"
            self.report(body.mark, f"{kind} needs a mapping of fields", path, hint)

    def pairs(self, node: MappingNode) -> Iterator[tuple[str, Node, Node]]:
        """String keys with key and value nodes; other keys, and repeated ones that hold modifiers, are reported."""
        seen: dict[str, tuple[Mark, Node]] = {}
        for key, value in merged(node):
            name = string_key(key)
            if name is None:
                self.report(key.mark, "a name is expected as key here", hint="quote it if it is meant as a word")
                continue
            if name in seen:
                line, first = seen[name][0].line, seen[name][1]
                if not isinstance(first, ScalarNode) or not isinstance(value, ScalarNode) or _GROUP in name:
                    self.report(key.mark, f"duplicate key {name!r}", hint=f"first given in line {line}")
                    continue
                self.warn(key.mark, f"{name} is given twice: this value holds, not that of line {line}", name)
            seen[name] = key.mark, value
            yield name, key, value

    def report(self, mark: Mark, message: str, path: str | None = None, hint: str | None = None) -> None:
        self.document.problems.append(problem(mark, message, path, hint))

    def warn(self, mark: Mark, message: str, path: str | None = None, hint: str | None = None) -> None:
        self.document.warnings.append(problem(mark, message, path, hint))


def _is_null(node: Node) -> bool:
    """Whether nothing stands there, or one of YAML's words for it."""
    if not isinstance(node, ScalarNode) or not node.plain:
        return False
    return node.text == "" or (node.tag is None and resolve(node.text) is None)


def _is_stage(name: str, node: MappingNode) -> bool:
    if node.tag is not None:
        return False
    keys = [text_of(key) for key, _ in merged(node)]
    return any(_GROUP in key for key in keys) or (name.endswith("_stage") and any(map(_CLASS_NAME.fullmatch, keys)))


def _holds_stages(node: MappingNode) -> bool:
    found = [isinstance(value, MappingNode) and _is_stage(text_of(key), value) for key, value in merged(node)]
    return node.tag is None and any(found)


def _holds_modifiers(node: Node) -> bool:
    if isinstance(node, SequenceNode):
        return any(modifier_tag(item) for item in node.items)
    if isinstance(node, MappingNode):
        return any(_CLASS_NAME.fullmatch(text_of(key)) for key, _ in node.pairs)
    return False
