"""Hostile stubs, manifests, names and archives: nothing leaves its folder, and nothing but ZooError comes out."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo import resolve
from sparsify.zoo.archive import unpacked
from sparsify.zoo.convert import read_pickled
from sparsify.zoo.http import allowed_redirect, check_address
from sparsify.zoo.manifest import MANIFEST, digest, read_manifest
from sparsify.zoo.names import redacted, safe, shown
from sparsify.zoo.roots import FolderRoot, read_index
from sparsify.zoo.settings import split_roots
from sparsify.zoo.sparsezoo import card_stub
from sparsify.zoo.stub import parse_stub
from tests.helpers.zoos import ENTRY, STUB

many = settings(max_examples=1000, suppress_health_check=list(HealthCheck), deadline=None)
PIECES = st.sampled_from(
    ["..", ".", "", "a", "b-c", "~", "/", "\\", "etc", "passwd", "con", "C:", "\x00", "\n", "%2e%2e", "?", "#", "é", "\ud800",
     "recipe.yaml", "training", "model.safetensors", "a" * 300, " ", ". ", "a.", "$(x)", "zoo:", "://", "@", "-"]
)  # fmt: skip
PATHS = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=12).map("/".join), st.lists(PIECES, max_size=6).map("".join)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root beside which there is a secret, with links to it."""
    top = tmp_path_factory.mktemp("hostile")
    (top / "secret").mkdir()
    for name in ("recipe.yaml", "config.json"):
        (top / "secret" / name).write_text("secret")
    root = top / "zoo"
    entry = root / ENTRY
    entry.mkdir(parents=True)
    (entry / "recipe.yaml").write_text("modifiers: []\n")
    (root / "a").symlink_to(top / "secret")
    (entry / "training").symlink_to(top / "secret")
    return root


@many
@given(text=PATHS, query=st.one_of(st.just(""), PATHS.map("?recipe=".__add__), PATHS.map("?".__add__)))
def test_stubs(zoo: Path, text: str, query: str) -> None:
    for stub in (f"zoo:{text}{query}", f"{STUB}{query}", f"zoo:a/b/c/d/e/{text}{query}"):
        try:
            path = parse_stub(stub).path
        except ZooError:
            continue
        assert os.path.normpath(zoo / path) == str(zoo / path)
        assert (zoo / path).is_relative_to(zoo)
        try:
            found = resolve(stub, zoo=[zoo]).recipe()
        except ZooError:
            continue
        assert found.resolve().is_relative_to(zoo.resolve()) or "recipes" in str(found)
        assert found.read_text() != "secret"


@many
@given(name=PATHS)
def test_names(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = Path("/work/root")
    try:
        path = safe(name, "here")
    except ZooError:
        return
    assert (root / path).is_relative_to(root)
    assert os.path.normpath(root / path) == str(root / path)
    assert "\\" not in name
    assert not any(part.startswith(".") for part in path.parts)
    os.fsencode(str(path))


def _manifest(name: object, rest: dict[str, Any]) -> bytes:
    files = {str(name): {"sha256": "0" * 64, "size": 1}}
    return json.dumps({"schema_version": 1, "stub": STUB, "files": files, **rest}).encode("utf-8", "surrogatepass")


@many
@given(
    data=st.one_of(
        st.binary(max_size=200),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.builds(
            _manifest, PATHS, st.dictionaries(st.sampled_from(["files", "stub", "metrics", "base", "packages"]), JSON)
        ),
        st.integers(1, 5000).map(lambda n: b"[" * n),
        st.integers(4000, 6000).map(lambda n: b'{"schema_version": 1, "stub": ' + b"1" * n + b"}"),
    )
)
def test_manifests(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        manifest = read_manifest(data, "here", STUB)
    except ZooError:
        return
    for name in manifest.files:
        assert Path("/root").joinpath(name).is_relative_to("/root")
        assert ".." not in PurePosixPath(name).parts
    assert manifest.stub == STUB


@many
@given(name=PATHS, size=st.integers(0, 4))
def test_manifests_in_a_root(zoo: Path, name: str, size: int) -> None:
    (zoo / ENTRY / MANIFEST).write_bytes(_manifest(name, {}))
    try:
        entry = resolve(STUB, zoo=[zoo])
        for found in entry.all().values():
            assert found.resolve().is_relative_to(zoo.resolve())
    except ZooError:
        pass
    finally:
        (zoo / ENTRY / MANIFEST).unlink()


KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)


def _archive(members: list[tuple[str, bytes, str]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", errors="surrogatepass") as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            content = b"x" * 10 if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@many
@given(
    members=st.lists(st.tuples(PATHS, KINDS, PATHS), max_size=5),
    damage=st.one_of(st.none(), st.integers(0, 200)),
    raw=st.one_of(st.none(), st.binary(max_size=300)),
)
def test_archives(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[str, bytes, str]],
    damage: int | None,
    raw: bytes | None,
) -> None:
    top = tmp_path_factory.getbasetemp() / "archives"
    top.mkdir(exist_ok=True)
    try:
        data = bytearray(raw if raw is not None else _archive(members))
    except (ValueError, UnicodeError):
        return
    if damage is not None and damage < len(data):
        data[damage] ^= 0xFF
    archive = top / "training.tar.gz"
    archive.write_bytes(data)
    before = {path for path in top.iterdir() if path.name != "cache"}
    try:
        folder = unpacked(archive, "training", top / "cache")
    except ZooError:
        folder = None
    assert {path for path in top.iterdir() if path.name != "cache"} == before
    if folder is not None:
        for path in folder.rglob("*"):
            assert path.is_file() or path.is_dir()
            assert not path.is_symlink()
            assert path.resolve().is_relative_to(folder.resolve())


@settings(many, max_examples=300)
@given(data=st.one_of(st.binary(max_size=100), JSON.map(lambda v: json.dumps({"stubs": v}).encode())))
def test_indexes(data: bytes) -> None:
    try:
        stubs = read_index(data, "here")
    except ZooError:
        return
    assert all(parse_stub(stub).base == stub for stub in stubs)


@settings(many, max_examples=300)
@given(text=st.one_of(st.text(max_size=80), JSON.map(json.dumps)))
def test_model_cards(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    card = tmp_path_factory.getbasetemp() / "model.md"
    card.write_text(f"---\n{text}\n---\n", encoding="utf-8", errors="replace")
    stub = card_stub(card)
    assert stub is None or parse_stub(stub.base) == stub


@settings(many, max_examples=300)
@given(text=PATHS)
def test_addresses(text: str) -> None:
    shown(text)
    split_roots(text)
    for url in (f"http://{text}", f"https://{text}"):
        try:
            check_address(url)
        except ZooError:
            continue
        assert url.startswith("https://") or any(host in url for host in ("localhost", "127.", "[::1]"))


def test_a_link_out_of_the_root_is_refused(zoo: Path) -> None:
    with pytest.raises(ZooError, match="has no training/"):  # links are not even listed
        resolve(STUB, zoo=[zoo]).training()
    file = zoo / ENTRY / MANIFEST
    file.write_bytes(_manifest("training/config.json", {}))
    with pytest.raises(ZooError, match="leads out of"):
        resolve(STUB, zoo=[zoo]).training()
    file.unlink()
    with pytest.raises(ZooError, match="leads out of"):
        FolderRoot(zoo).entry(PurePosixPath("a"))


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "training.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("training/zeros")
        member.size = 64 * 2**20
        tar.addfile(member, _Zeros(member.size))
    assert archive.stat().st_size < 100_000
    with pytest.raises(ZooError, match="more than is believable"):
        unpacked(archive, "training", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size]


class _Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, count: int = -1) -> bytes:
        count = min(count if count >= 0 else self.left, self.left)
        self.left -= count
        return bytes(count)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.ones(2), "evil": Evil(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ZooError, match="only plain tensors"):
        read_pickled(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()


@settings(many, max_examples=200)
@given(data=st.binary(max_size=200), cut=st.integers(0, 1200))
@example(data=b"G", cut=0)  # a float of eight bytes that are not there
def test_damaged_weights(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    import torch

    file = tmp_path_factory.getbasetemp() / "pytorch_model.bin"
    torch.save({"weight": torch.ones(3)}, file)
    file.write_bytes(file.read_bytes()[:cut] + data)
    try:
        read = read_pickled(file)
    except ZooError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in read.values())


@pytest.mark.parametrize(
    ("origin", "location", "allowed"),
    [
        ("https://zoo.org/a", "https://cdn.org/b", True),
        ("https://zoo.org/a", "/b", True),
        ("https://zoo.org/a", "http://zoo.org/b", False),
        ("https://zoo.org/a", "http://127.0.0.1/b", False),
        ("https://zoo.org/a", "file:///etc/passwd", False),
        ("https://zoo.org/a", "//other.org/b", True),
        ("http://127.0.0.1:80/a", "http://localhost/b", True),
        ("http://127.0.0.1:80/a", "http://zoo.org/b", False),
    ],
)
def test_redirects(origin: str, location: str, allowed: bool) -> None:
    assert allowed_redirect(origin, location) is allowed


def test_secrets_are_not_shown() -> None:
    assert shown("https://ann:pa55@zoo.org/z?token=pa55#x") == "https://zoo.org/z"
    said = redacted("Cannot connect to https://ann:pa55@zoo.org/z?X-Amz-Signature=pa55: refused")
    assert "pa55" not in said
    assert "refused" in said


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
