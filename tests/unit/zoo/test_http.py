"""Web servers that misbehave: redirects, files larger than announced, secrets, manifests that change."""

from __future__ import annotations

import http.server
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsify.cli.stubs import bar
from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import publish, resolve
from sparsify.zoo.filesystem import Remote
from sparsify.zoo.settings import using
from tests.helpers.zoos import ENTRY, STUB, WEIGHTS, Ranged, model_files, python_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "zoo"
    publish(model_files(tmp_path / "run", size=5000), STUB, root)
    return root


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with python_server(folder, Ranged) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("location", "refused"), [("http://zoo.invalid/x", True), ("file:///etc/passwd", True), ("/elsewhere.txt", False)]
)
def test_redirects_are_checked_before_they_are_followed(location: str, refused: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("there")

    class Redirecting(Ranged):
        def send_head(self) -> Any:
            if self.path.startswith("/elsewhere"):
                return super().send_head()
            self.send_response(302)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

    with python_server(tmp_path, Redirecting) as port:
        remote = Remote(f"http://127.0.0.1:{port}", {})
        if not refused:
            assert remote.read("file.txt", 100) == b"there"
            return
        for ask in (lambda: remote.read("file.txt", 100), lambda: remote.info("file.txt")):
            with pytest.raises(ZooUnreachable, match="refused to be sent to"):
                ask()


def test_a_file_larger_than_announced_is_not_read_to_its_end(folder: Path, url: str) -> None:
    with (folder / ENTRY / WEIGHTS).open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ZooError, match="larger than the"):
        resolve(STUB, zoo=[url]).training()


def test_a_manifest_without_end_is_not_read_to_its_end(folder: Path, url: str) -> None:
    (folder / ENTRY / "manifest.json").write_bytes(b" " * (5 * 2**20))
    with pytest.raises(ZooError, match="larger than"):
        resolve(STUB, zoo=[url])


def test_secrets_of_an_address_are_never_said(caplog: pytest.LogCaptureFixture, url: str) -> None:
    secret = url.replace("127.0.0.1", "ann:pa55word@127.0.0.1")
    closed = "http://ann:pa55word@127.0.0.1:9/zoo"
    with caplog.at_level(logging.DEBUG, "sparsify"):
        entry = resolve(STUB, zoo=[closed, secret])
        assert entry.recipe().is_file()
        with pytest.raises(ZooError) as caught:
            resolve(STUB.replace("tiny", "other"), zoo=[closed, secret])
    assert "127.0.0.1:9/zoo (did not answer)" in str(caught.value)
    assert "pa55word" not in caplog.text + str(caught.value) + repr(entry) + str(entry.recipe())


def test_a_server_error_is_no_missing_entry(tmp_path: Path) -> None:
    class Broken(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_error(500)

        do_HEAD = do_GET

    with python_server(tmp_path, _without_folder(Broken)) as port, pytest.raises(ZooError, match=r"\(did not answer\)"):
        resolve(STUB, zoo=[f"http://127.0.0.1:{port}"])


def _without_folder(handler: Any) -> Any:
    """A handler that takes no folder."""
    return lambda *args, directory=None: handler(*args)


def test_an_entry_without_manifest_is_listed_by_the_server(tmp_path: Path, url: str, folder: Path) -> None:
    (folder / ENTRY / "manifest.json").unlink()
    entry = resolve(STUB, zoo=[url])
    assert entry.manifest is None
    first = entry.training() / "model.safetensors"
    assert first.read_bytes() == (folder / ENTRY / WEIGHTS).read_bytes()
    (folder / ENTRY / WEIGHTS).write_bytes(b"another")  # the etag tells
    second = resolve(STUB, zoo=[url]).training() / "model.safetensors"
    assert second.read_bytes() == b"another"
    assert first.read_bytes() != b"another"
    second.write_bytes(b"damaged")  # as long as it was; the sha256 of the first time tells
    assert (resolve(STUB, zoo=[url]).training() / "model.safetensors").read_bytes() == b"another"
    assert resolve(STUB, zoo=[url], offline=True).training() == second.parent


def test_progress_is_told(url: str) -> None:
    seen: list[tuple[str, int | None, int]] = []

    class Told:
        def __init__(self, label: str, total: int | None, done: int) -> None:
            self.label, self.total, self.count = label, total, done

        def __enter__(self) -> Any:
            return self.step

        def __exit__(self, *error: object) -> None:
            seen.append((self.label, self.total, self.count))

        def step(self, count: int) -> None:
            self.count += count

    with using([url], progress=Told):
        file = resolve(STUB).training() / "model.safetensors"
    size = file.stat().st_size
    assert ("model.safetensors", size, size) in seen


@pytest.mark.parametrize("total", [10, 10**8, None])
def test_the_bar_counts_quietly(total: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("x", total, 0) as step:
        step(5)
    assert capsys.readouterr().out == ""  # results go there, and scripts read them
