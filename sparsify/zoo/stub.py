"""The names of zoo entries: ``zoo:domain/sub_domain/architecture/framework/repo/dataset/tag``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from sparsify.errors import ZooError

PREFIX = "zoo:"
GRAMMAR = "zoo:domain/sub_domain/architecture[-sub]/framework/repo/dataset[-scheme]/tag[?recipe=name]"
EXAMPLE = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"
_SEGMENTS = ("domain", "sub_domain", "architecture", "framework", "repo", "dataset", "tag")
_WORD = r"(?!\.)[A-Za-z0-9_.]+"
_PLAIN = re.compile(_WORD)
_WITH_SUB = re.compile(rf"({_WORD})(?:-([A-Za-z0-9_.]+))?")
_TAG = re.compile(r"(?!\.)[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Stub:
    """A parsed zoo stub; the optional parts are None where it has none."""

    domain: str
    sub_domain: str
    architecture: str
    sub_architecture: str | None
    framework: str
    repo: str
    dataset: str
    scheme: str | None
    tag: str
    recipe: str | None = None

    @property
    def path(self) -> PurePosixPath:
        """The entry's folder below a root."""
        architecture = "-".join(filter(None, (self.architecture, self.sub_architecture)))
        dataset = "-".join(filter(None, (self.dataset, self.scheme)))
        return PurePosixPath(self.domain, self.sub_domain, architecture, self.framework, self.repo, dataset, self.tag)

    def __str__(self) -> str:
        query = f"?recipe={self.recipe}" if self.recipe else ""
        return f"{PREFIX}{self.path}{query}"


def parse_stub(text: str) -> Stub:
    """Read a stub; the ``zoo:`` in front may be left out.

    Raises:
        ZooError: It does not follow the grammar; names the segment that is wrong.
    """
    body, *queries = text.removeprefix(PREFIX).split("?")
    if len(queries) > 1:
        raise _error(text, "only one '?' may stand in it")
    segments = body.strip("/").split("/") if body.strip("/") else []
    if len(segments) != len(_SEGMENTS):
        missing = ", ".join(_SEGMENTS[len(segments) :])
        detail = f"missing: {missing}" if missing else f"{'/'.join(segments[len(_SEGMENTS) :])!r} is too much"
        raise _error(text, f"it has {len(segments)} segments, not {len(_SEGMENTS)} ({detail})")
    parts = [_segment(text, name, value) for name, value in zip(_SEGMENTS, segments, strict=True)]
    domain, sub_domain, architecture, framework, repo, dataset, tag = parts
    recipe = _query(text, queries[0]) if queries else None
    return Stub(
        domain[0], sub_domain[0], *architecture, framework[0], repo[0], *dataset, tag[0] or "", recipe
    )  # fmt: skip


def _segment(text: str, name: str, value: str) -> tuple[str, str | None]:
    pattern = _TAG if name == "tag" else _WITH_SUB if name in ("architecture", "dataset") else _PLAIN
    match = pattern.fullmatch(value)
    if match is None:
        dash = "" if pattern is _PLAIN else ", '-'" if name == "tag" else " and one '-'"
        signs = f"letters, digits, '_', '.'{dash}"
        raise _error(text, f"its {name} is {value!r}; allowed are {signs}, and no '.' in front")
    return (match[1], match[2]) if pattern is _WITH_SUB else (value, None)


def _query(text: str, query: str) -> str | None:
    recipe: str | None = None
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in ("recipe", "recipe_type"):
            raise _error(text, f"unknown query {key!r}; known is recipe=NAME")
        if not _TAG.fullmatch(value):
            raise _error(text, f"its recipe is {value!r}, which is no name")
        recipe = value
    return recipe


def _error(text: str, message: str) -> ZooError:
    return ZooError(f"not a zoo stub: {text!r}: {message}\n    grammar: {GRAMMAR}\n    example: {EXAMPLE}")
