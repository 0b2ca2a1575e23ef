"""Zoos of every kind, and a cache of the test's own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers import zoos
from tests.helpers.zoos import Proxy, World


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPARSIFY_CACHE", str(folder))
    return folder


KINDS = ("folder", "http", "plain_http", "nginx", "s3")


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty zoo of each kind."""
    kind = request.param
    folder = tmp_path / "zoo"
    folder.mkdir()

    def damage(name: str) -> None:
        zoos.flip(folder / name)

    with ExitStack() as stack:
        if kind == "folder":
            yield World(str(folder), str(folder), damage)
            return
        if kind == "s3":
            yield stack.enter_context(_S3(monkeypatch))
            return
        if kind == "nginx":
            if shutil.which("nginx") is None:
                pytest.skip("nginx is not installed")
            port = stack.enter_context(zoos.nginx(folder, tmp_path / "nginx"))
        else:
            handler = zoos.Ranged if kind == "http" else zoos.Plain
            port = stack.enter_context(zoos.python_server(folder, handler))
        proxy = Proxy(("127.0.0.1", port))
        stack.callback(proxy.close)
        yield World(f"http://127.0.0.1:{proxy.port}", str(folder), damage, proxy)


class _S3:
    """moto's S3 server behind a proxy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("s3fs", reason="s3fs is not installed (pip install 'sparsify-recipes[s3]')")
        moto = pytest.importorskip("moto.server", reason="moto's server is not installed")
        self._server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._patch = monkeypatch

    def __enter__(self) -> World:
        import boto3

        self._server.start()
        host, port = self._server.get_host_and_port()
        self._proxy = Proxy((host, port))
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._proxy.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "SECRETKEY",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in environment.items():
            self._patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        bucket = f"models-{uuid.uuid4().hex[:12]}"  # moto keeps buckets for as long as the process lives
        client.create_bucket(Bucket=bucket)

        def damage(name: str) -> None:
            data = bytearray(client.get_object(Bucket=bucket, Key=f"zoo/{name}")["Body"].read())
            data[len(data) // 2] ^= 1
            client.put_object(Bucket=bucket, Key=f"zoo/{name}", Body=bytes(data))

        return World(f"s3://{bucket}/zoo", f"s3://{bucket}/zoo", damage, self._proxy, environment)

    def __exit__(self, *error: object) -> None:
        self._proxy.close()
        self._server.stop()


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a process of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
