"""``manifest.json``: what an entry consists of, and what was measured on it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sparsify.errors import ZooError, first_line
from sparsify.zoo.names import MAX_BYTES, safe_set
from sparsify.zoo.stub import parse_stub

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
MAX_MANIFEST = 4 * 2**20
_CHUNK = 2**20


class FileRecord(BaseModel):
    """Size and content of one file.

    Attributes:
        sha256: Of its bytes, in lower case hex; None where an entry without manifest was listed.
        size: Bytes; None where a server does not say.
        tag: What the server says of this version (an etag), None if nothing.
    """

    model_config = ConfigDict(frozen=True, strict=True)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(None, ge=0, le=MAX_BYTES)
    tag: str | None = Field(None, max_length=400)


class Metric(BaseModel):
    """One figure, with the command that measured it."""

    model_config = ConfigDict(frozen=True)
    name: str = Field(max_length=200)
    value: float
    data: str | None = Field(None, max_length=500)
    command: str | None = Field(None, max_length=4000)

    @field_validator("value")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return value


class Manifest(BaseModel):
    """What stands in ``manifest.json``.

    Attributes:
        schema_version: Of this format.
        stub: The entry's own stub.
        files: Every file but the manifest, by its path in the entry.
        base: Stub or Hub id of the model that training started from.
        task: What the model does.
        metrics: What was measured; None where nothing was.
        licence: SPDX identifier of the weights' licence.
        packages: Versions that it was made with.
    """

    model_config = ConfigDict(frozen=True)
    schema_version: Literal[1] = 1
    stub: str
    files: dict[str, FileRecord]
    base: str | None = Field(None, max_length=500)
    task: str | None = Field(None, max_length=200)
    metrics: list[Metric] | None = Field(None, max_length=1000)
    licence: str | None = Field(None, max_length=200)
    packages: dict[str, str] = Field(default_factory=dict, max_length=200)

    def text(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(exclude_none=True) | {"metrics": self._metrics()}, indent=2) + "\n"

    def _metrics(self) -> list[dict[str, Any]] | None:
        return None if self.metrics is None else [metric.model_dump(exclude_none=True) for metric in self.metrics]


def read_manifest(data: bytes, where: str, stub: str | None = None) -> Manifest:
    """Check and read a manifest.

    Args:
        data: The file's bytes.
        where: Where they come from, for messages.
        stub: The stub it was found under; must be its own.

    Raises:
        ZooError: It is too large, not JSON, of a newer schema, another entry's, or names files that leave the entry.
    """
    place = f"{where}/{MANIFEST}"
    if len(data) > MAX_MANIFEST:
        raise ZooError(f"{place}: larger than {MAX_MANIFEST} bytes")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{place}: not JSON ({first_line(error)[:120]})") from error
    if isinstance(raw, dict) and raw.get("schema_version") != SCHEMA_VERSION:
        version = str(raw.get("schema_version"))[:20]
        raise ZooError(f"{place}: schema_version is {version}, this version of sparsify reads {SCHEMA_VERSION}")
    try:
        manifest = Manifest.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        raise ZooError(f"{place}: not a manifest ({_problem(error)})") from error
    _check(manifest, place, stub)
    return manifest


def _check(manifest: Manifest, place: str, stub: str | None) -> None:
    safe_set(manifest.files, place)
    if MANIFEST in manifest.files:
        raise ZooError(f"{place}: it lists itself")
    if bare := next((name for name, file in manifest.files.items() if file.sha256 is None or file.size is None), None):
        raise ZooError(f"{place}: {bare!r} has no sha256 or no size")
    try:
        own = parse_stub(manifest.stub).base
    except ZooError as error:
        raise ZooError(f"{place}: {error}") from None
    if stub is not None and own != stub:
        raise ZooError(f"{place}: it is the manifest of {own}, and lies where {stub} belongs")


def digest(path: Path) -> str:
    """sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def record(path: Path) -> FileRecord:
    """Size and sha256 of a file."""
    return FileRecord(sha256=digest(path), size=path.stat().st_size)


def revision(files: Mapping[str, FileRecord]) -> str:
    """A short name of exactly these files."""
    listed = [[name, *file.model_dump().values()] for name, file in sorted(files.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def _problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    return re.sub(r"\s+", " ", f"{'.'.join(str(part)[:80] for part in first['loc'])}: {first['msg']}")
