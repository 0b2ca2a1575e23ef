"""A stand-in for SparseZoo's service, on loopback: answers one query, and serves the files of one model."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def service(files: Mapping[str, tuple[str, bytes]]) -> Iterator[str]:
    """Serve files, each a kind (``recipe``, ``training``, ``onnx``, ``card``) and bytes by name; yields the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            listed = [
                {
                    "displayName": name,
                    "downloadUrl": f"{host}/{name}",
                    "fileSize": len(data),
                    "fileType": kind,
                    "modelId": "id",
                }
                for name, (kind, data) in files.items()
            ]
            model = {"modelId": "id", "files": listed, "benchmarkResults": [], "trainingResults": [], "repoName": None,
                     "repoNamespace": None, "modelOnnxSizeCompressedBytes": 1}  # fmt: skip
            self._send(json.dumps({"data": {"models": [model]}}).encode())

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            found = files.get(self.path.lstrip("/").split("?")[0])
            self._send(found[1]) if found else self.send_error(404)

        def _send(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
