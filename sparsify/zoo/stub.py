"""The names of zoo entries, long and short, with what may be asked of an entry."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from sparsify.errors import ZooError

PREFIX = "zoo:"
GRAMMAR = (
    "zoo:domain/sub_domain/architecture[-sub]/framework/repo/dataset[-scheme]/tag[?recipe=name], or"
    " zoo:architecture[-sub]-source_dataset[-training_dataset]-tag"
)
EXAMPLE = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"
CHECKPOINTS = ("prepruning", "postpruning", "preqat", "postqat")
DEPLOYMENTS = ("default",)
QUERIES = ("recipe", "recipe_type", "checkpoint", "deployment")
DEPTH = 7
"""Segments of a long stub."""
_SEGMENTS = ("domain", "sub_domain", "architecture", "framework", "repo", "dataset", "tag")
_SHORT = {
    3: ("architecture", "source_dataset", "tag"),
    4: ("architecture", "sub_architecture", "source_dataset", "tag"),
    5: ("architecture", "sub_architecture", "source_dataset", "training_dataset", "tag"),
}
_LONGEST = 100
_WORD = r"(?!\.)[A-Za-z0-9_.]+"
_PLAIN = re.compile(_WORD)
_WITH_SUB = re.compile(rf"({_WORD})(?:-([A-Za-z0-9_.]+))?")
_TAG = re.compile(r"(?!\.)[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Stub:
    """A parsed zoo stub; the optional parts are None where it has none.

    A short stub (SparseZoo's second form) has no domain, sub-domain, framework and repository; its ``dataset`` is the
    one that the model comes from and its ``scheme`` the one that it was trained on.
    """

    domain: str | None
    sub_domain: str | None
    architecture: str
    sub_architecture: str | None
    framework: str | None
    repo: str | None
    dataset: str
    scheme: str | None
    tag: str
    recipe: str | None = None
    checkpoint: str | None = None
    deployment: str | None = None

    @property
    def short(self) -> bool:
        """Whether this is the short form."""
        return self.domain is None

    @property
    def path(self) -> PurePosixPath:
        """The entry's folder below a root."""
        architecture = "-".join(filter(None, (self.architecture, self.sub_architecture)))
        dataset = "-".join(filter(None, (self.dataset, self.scheme)))
        long = (self.domain, self.sub_domain, architecture, self.framework, self.repo, dataset, self.tag)
        return PurePosixPath("-".join((architecture, dataset, self.tag)) if self.short else "/".join(map(str, long)))

    @property
    def base(self) -> str:
        """The stub without what is asked of it."""
        return f"{PREFIX}{self.path}"

    def __str__(self) -> str:
        asked = {"recipe": self.recipe, "checkpoint": self.checkpoint, "deployment": self.deployment}
        query = "&".join(f"{key}={value}" for key, value in asked.items() if value)
        return f"{self.base}?{query}" if query else self.base


def is_stub(text: object) -> bool:
    """Whether a name that may also be a path or a Hub id is meant as a stub."""
    return isinstance(text, str) and text.startswith(PREFIX)


def parse_stub(text: str) -> Stub:
    """Read a stub; the ``zoo:`` in front may be left out.

    Raises:
        ZooError: It does not follow the grammar; names the segment that is wrong.
    """
    if not isinstance(text, str):
        raise ZooError(f"a zoo stub is text, got {type(text).__name__}")
    body, *queries = text.removeprefix(PREFIX).split("?")
    if len(queries) > 1:
        raise _error(text, "only one '?' may stand in it")
    asked = _query(text, queries[0]) if queries else {}
    segments = body.strip("/").split("/") if body.strip("/") else []
    if len(segments) == 1 and "-" in segments[0]:
        return _short(text, segments[0], asked)
    return _long(text, segments, asked)


def _long(text: str, segments: list[str], asked: dict[str, str]) -> Stub:
    if len(segments) != len(_SEGMENTS):
        missing = ", ".join(_SEGMENTS[len(segments) :])
        detail = f"missing: {missing}" if missing else f"{_cut('/'.join(segments[len(_SEGMENTS) :]))!r} is too much"
        raise _error(text, f"it has {len(segments)} segments, not {len(_SEGMENTS)} ({detail})")
    parts = [_segment(text, name, value) for name, value in zip(_SEGMENTS, segments, strict=True)]
    domain, sub_domain, architecture, framework, repo, dataset, tag = parts
    return Stub(
        domain[0], sub_domain[0], *architecture, framework[0], repo[0], *dataset, tag[0], **asked
    )  # fmt: skip


def _short(text: str, name: str, asked: dict[str, str]) -> Stub:
    values = name.split("-")
    names = _SHORT.get(len(values))
    if names is None:
        raise _error(
            text, f"a short stub has 3 to 5 parts between its '-', architecture, source dataset and tag at least,"
            f" this one {len(values)}"
        )  # fmt: skip
    for part, value in zip(names, values, strict=True):
        if not _PLAIN.fullmatch(value) or len(value) > _LONGEST:
            raise _error(
                text, f"its {part} is {_cut(value)!r}; allowed are letters, digits, '_', '.', and no '.' in front"
            )
    found = dict(zip(names, values, strict=True))
    return Stub(
        None, None, found["architecture"], found.get("sub_architecture"), None, None,
        found["source_dataset"], found.get("training_dataset"), found["tag"], **asked
    )  # fmt: skip


def _segment(text: str, name: str, value: str) -> tuple[str, str | None]:
    pattern = _TAG if name == "tag" else _WITH_SUB if name in ("architecture", "dataset") else _PLAIN
    match = pattern.fullmatch(value)
    if match is None:
        dash = "" if pattern is _PLAIN else ", '-'" if name == "tag" else " and one '-'"
        signs = f"letters, digits, '_', '.'{dash}"
        raise _error(text, f"its {name} is {_cut(value)!r}; allowed are {signs}, and no '.' in front")
    if len(value) > _LONGEST:
        raise _error(text, f"its {name} has {len(value)} characters; {_LONGEST} are allowed")
    return (match[1], match[2]) if pattern is _WITH_SUB else (value, None)


def _query(text: str, query: str) -> dict[str, str]:
    asked: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in QUERIES:
            near = difflib.get_close_matches(key, QUERIES, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise _error(text, f"unknown query {_cut(key)!r}; known are {', '.join(QUERIES)}{meant}")
        choices = {"checkpoint": CHECKPOINTS, "deployment": DEPLOYMENTS}.get(key)
        if choices and value not in choices:
            raise _error(text, f"its {key} is {_cut(value)!r}, not one of {', '.join(choices)}")
        if not _TAG.fullmatch(value) or len(value) > _LONGEST:
            raise _error(text, f"its recipe is {_cut(value)!r}, which is no name")
        name = "recipe" if key == "recipe_type" else key
        if asked.setdefault(name, value) != value:
            raise _error(text, f"it asks for two of {name}: {asked[name]!r} and {value!r}")
    return asked


def _cut(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:57]}..."


def _error(text: str, message: str) -> ZooError:
    return ZooError(
        f"not a zoo stub: {_cut(text) if len(text) > 200 else text!r}: {message}\n    grammar: {GRAMMAR}\n    example: {EXAMPLE}"
    )
