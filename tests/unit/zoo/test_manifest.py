"""Manifests: what is read back is what was written, and what is refused says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo.manifest import MAX_MANIFEST, FileRecord, Manifest, Metric, read_manifest, record, revision
from sparsify.zoo.names import MAX_BYTES
from tests.helpers.zoos import STUB

RECORD = {"sha256": "0" * 64, "size": 1}
TEXTS = st.text(max_size=40)
RECORDS = st.builds(
    FileRecord, sha256=st.text(alphabet="0123456789abcdef", min_size=64, max_size=64), size=st.integers(0, MAX_BYTES)
)
NAMES = st.dictionaries(st.text(alphabet="abcdefgh", min_size=1, max_size=8), RECORDS, max_size=5)
METRICS = st.builds(Metric, name=TEXTS, value=st.floats(allow_nan=False, allow_infinity=False), data=st.none() | TEXTS)


def text(**fields: Any) -> bytes:
    return json.dumps({"schema_version": 1, "stub": STUB, "files": {"a": RECORD}, **fields}).encode()


@settings(max_examples=40)
@given(
    manifest=st.builds(
        Manifest, stub=st.just(STUB), files=NAMES, base=st.none() | TEXTS, task=st.none() | TEXTS, licence=st.none() | TEXTS,
        metrics=st.none() | st.lists(METRICS, max_size=3), packages=st.dictionaries(TEXTS, TEXTS, max_size=3),
    )
)  # fmt: skip
def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    assert read_manifest(manifest.text().encode(), "here", STUB) == manifest


def test_not_measured_and_nothing_measured_are_two_things() -> None:
    for metrics in (None, []):
        said = Manifest(stub=STUB, files={}, metrics=metrics).text()
        assert json.loads(said)["metrics"] == metrics
        assert read_manifest(said.encode(), "here").metrics == metrics


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", r"not a manifest"),
        (b"{}", "schema_version is None, this version of sparsify reads 1"),
        (text(schema_version="1"), "schema_version is 1"),
        (text(files={"a": {**RECORD, "sha256": "0" * 63}}), r"files\.a\.sha256"),
        (text(files={"a": {**RECORD, "sha256": "A" * 64}}), r"files\.a\.sha256"),
        (text(files={"a": {**RECORD, "size": -1}}), r"files\.a\.size"),
        (text(files={"a": {**RECORD, "size": True}}), r"files\.a\.size"),
        (text(files={"a": {**RECORD, "size": MAX_BYTES + 1}}), r"files\.a\.size"),
        (text(files={"a": {"size": 1}}), "'a' has no sha256 or no size"),
        (text(files={"a": {"sha256": "0" * 64}}), "'a' has no sha256 or no size"),
        (text(files={"manifest.json": RECORD}), "it lists itself"),
        (text(files={"../a": RECORD}), "refused the file name"),
        (text(files={"a": RECORD, "A": RECORD}), "two files are named"),
        (text(metrics=[{"name": "f1", "value": float("nan")}]), "not a finite number"),
        (text(metrics=[{"name": "f1"}]), r"metrics\.0\.value"),
        (text(stub="zoo:nonsense"), "not a zoo stub: 'zoo:nonsense'"),
        (text(stub="zoo:a-b-c"), f"the manifest of zoo:a-b-c, and lies where {STUB} belongs"),
        (b" " * (MAX_MANIFEST + 1), f"larger than {MAX_MANIFEST} bytes"),
    ],
)
def test_what_is_refused_names_the_manifest(data: bytes, words: str) -> None:
    with pytest.raises(ZooError, match=words) as caught:
        read_manifest(data, "s3://bucket/zoo/entry", STUB)
    assert str(caught.value).startswith("s3://bucket/zoo/entry/manifest.json: ")


def test_fields_of_later_versions_are_passed_over() -> None:
    assert read_manifest(text(unheard_of=[1], files={"a": {**RECORD, "mode": 7}}), "here").files["a"].size == 1


def test_a_revision_is_of_exactly_these_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    file = record(tmp_path / "x")
    assert file.size == 3
    one = revision({"a": file, "b": file})
    assert revision({"b": file, "a": file}) == one
    others = [{"a": file}, {"a": file, "c": file}, {"a": file, "b": file.model_copy(update={"size": 4})}]
    assert len({one, *map(revision, others)}) == 4
