"""The parts of a recipe: stages, modifier entries and variables, as nodes, none of them evaluated yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsify.errors import Problem
from sparsify.recipe.nodes import MappingNode, Mark, Node

DEFAULT = "default"
"""Name of the one stage of a recipe without stages."""


@dataclass(slots=True)
class Entry:
    """One modifier as written.

    Attributes:
        body: Its fields; None when it has none.
        group: The key that it stands under.
        empty: What stands in place of fields when there are none.
    """

    type: str
    mark: Mark
    path: str
    body: MappingNode | None
    group: str = ""
    empty: Node | None = None


@dataclass(slots=True)
class Section:
    """A stage, or the top level of a recipe: entries, variables and metadata in file order."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    variables: dict[str, Node] = field(default_factory=dict)
    metadata: Node | None = None
    groups: list[tuple[str, Mark]] = field(default_factory=list)
    run_type: Node | None = None


@dataclass(slots=True)
class Document:
    """A parsed recipe. ``stages`` is empty for a recipe without stages: then ``root`` holds the entries.

    Attributes:
        node: The whole text's node; None where the text is empty.
        problems: What keeps it from being used.
        warnings: What it is read in spite of.
    """

    root: Section
    stages: list[Section]
    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    node: Node | None = None

    @property
    def sections(self) -> list[Section]:
        """The top level, then the stages."""
        return [self.root, *self.stages]

    @property
    def entries(self) -> list[Entry]:
        """All entries, in file order of their sections."""
        return [entry for section in self.sections for entry in section.entries]
