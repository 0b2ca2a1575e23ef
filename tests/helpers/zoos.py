"""Zoos to test with: entries, and servers whose connections can be watched, cut and refused."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

STUB = "zoo:nlp/token_classification/tiny-x/pytorch/huggingface/demo/pruned80-none"
ENTRY = STUB.removeprefix("zoo:")
WEIGHTS = "training/model.safetensors"
RECIPE = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 2}\n"
SIZE = 6 * 2**20


def model_files(folder: Path, size: int = SIZE, seed: int = 0) -> Path:
    """What training would leave, with weights of about ``size`` bytes that no model loads."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    save_file({"noise": noise}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "optimizer.pt").write_bytes(b"left out")
    (folder / "deployment").mkdir(exist_ok=True)
    (folder / "deployment" / "model.onnx").write_bytes(b"onnx")
    return folder


class Proxy:
    """Forwards TCP to a server; notes requests, and cuts answers when told to.

    Attributes:
        down: Refuse every connection.
        cuts: How many answers of at least ``after`` bytes are still to be cut, at that byte.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.down, self.cuts, self.after = target, False, 0, 0
        self._asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def requests(self) -> list[tuple[str, str, str]]:
        """(method, path, range) of every request so far."""
        found = []
        for data in self._asked:
            for method, path, head in re.findall(rb"(GET|HEAD) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", data, re.DOTALL):
                span = re.search(rb"(?i)^range: *(\S+)", head, re.MULTILINE)
                found.append((method.decode(), path.decode(), span[1].decode() if span else ""))
        return found

    def fetched(self, name: str) -> list[str]:
        """Ranges of the GETs of files whose path ends so."""
        return [span for method, path, span in self.requests if method == "GET" and path.endswith(name)]

    def forget(self) -> None:
        """Forget the requests so far."""
        self._asked = [b"" for _ in self._asked]

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            server = socket.create_connection(self.target)
            self._asked.append(b"")
            threading.Thread(target=self._up, args=(client, server, len(self._asked) - 1), daemon=True).start()
            threading.Thread(target=self._back, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self._asked[number] += data
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                sent += len(data)
                client.sendall(data)
                if self.cuts > 0 and sent >= self.after:
                    self.cuts -= 1
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class World:
    """A zoo of one kind.

    Attributes:
        url: What readers name.
        root: What publishers name.
        damage: Changes a byte in the middle of a file there.
        proxy: In front of it, None for a folder.
        environment: What a process needs to reach it.
    """

    url: str
    root: str
    damage: Callable[[str], None]
    proxy: Proxy | None = None
    environment: dict[str, str] = field(default_factory=dict)


def flip(path: Path) -> None:
    """Change a byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Python's own file server, taught ranges and etags, as every web server has them."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        size, start = path.stat().st_size, 0
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        stream = path.open("rb")
        if span:
            start = int(span[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}-{size:x}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        stream.seek(start)
        return stream


class Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own file server as it is: no ranges, no etags."""

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def python_server(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler]) -> Iterator[int]:
    """Serve a folder; yields the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def nginx(folder: Path, work: Path) -> Iterator[int]:
    """Serve a folder by nginx, as docs/zoo.md shows it; yields the port."""
    port = _free_port()
    work.mkdir(parents=True)
    temporary = "".join(
        f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"{user} daemon off; pid {work}/pid; error_log {work}/error.log; events {{}} http {{ access_log off; {temporary}"
        f" server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }} }}"
    )
    process = subprocess.Popen(["nginx", "-p", str(work), "-c", str(work / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")
