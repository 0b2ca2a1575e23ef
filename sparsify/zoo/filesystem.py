"""fsspec behind one door: whatever a backend raises comes out as a ZooError, without credentials in it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote

from sparsify.errors import ZooError, ZooUnreachable, reason
from sparsify.zoo import http
from sparsify.zoo.fetch import CHUNK
from sparsify.zoo.manifest import FileRecord
from sparsify.zoo.names import MAX_BYTES, MAX_FILES, redacted, shown

_TAGS = ("ETag", "etag", "blob_id", "sha", "LastModified", "last_modified", "created", "mtime")
WEAK = "Last-Modified"
"""What servers without etags say of a version; a second is all it can tell apart."""
_IPV6 = re.compile(r"\[[^]/]*\]")
_READ_ONLY = ("http", "https", "github", "git", "zip", "tar")


class NotThere(Exception):
    """The file is not there; the server itself answered."""


class Remote:
    """Files below an fsspec address.

    Raises:
        ZooError: The address is not allowed, or its file system is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        scheme, _, rest = url.partition("://")
        self.protocol = scheme.lower()
        url = f"{self.protocol}://{rest}"
        self.url = url.rstrip("/")
        self.shown = shown(self.url)
        if "::" in _IPV6.sub("", url):
            raise ZooError(f"{self.shown}: a zoo has no chained address; name the one that its files are at")
        self._http = self.protocol in ("http", "https")
        if self._http:
            http.check_address(url)
            merged = http.client_options()
            merged["client_kwargs"] |= options.get("client_kwargs", {})
            options = {**options, **merged}
        self._headers = dict(options.get("headers", {}))
        self._fs, self._base = self._open_fs(options)

    def _open_fs(self, options: Mapping[str, Any]) -> tuple[Any, str]:
        import fsspec

        try:
            options = {**options, "use_listings_cache": False, "skip_instance_cache": True}
            if self._http:  # url_to_fs would take the colons of [::1] for a chain
                return fsspec.filesystem(self.protocol, **options), self.url
            fs, base = fsspec.url_to_fs(self.url, **options)
        except ImportError as error:
            extra = " (pip install 'sparsify-recipes[s3]')" if self.protocol in ("s3", "s3a") else ""
            raise ZooError(f"{self.shown}: its file system is not installed{extra}: {redacted(str(error))}") from None
        except Exception as error:  # noqa: BLE001 - backends raise what their client libraries raise
            raise ZooError(
                f"{self.shown}: not an address that can be opened ({redacted(reason(error))[:200]})"
            ) from None
        return fs, str(base).rstrip("/")

    @property
    def writable(self) -> bool:
        """Whether publishing to it can work."""
        return self.protocol not in _READ_ONLY

    def path(self, name: PurePosixPath | str) -> str:
        """The backend's own name of a file below the address."""
        text = str(name)
        return f"{self._base}/{quote(text) if self._http else text}".rstrip("/")

    def where(self, name: PurePosixPath | str) -> str:
        """Address of a file, for messages."""
        return f"{self.shown}/{name}"

    def info(self, name: PurePosixPath | str) -> FileRecord:
        """Size and tag of a file.

        Raises:
            NotThere: It is not there.
            ZooUnreachable: No answer, or no usable one.
            ZooError: It is larger than any file of a zoo.
        """
        with self._told(name):
            found = self._fs.info(self.path(name))
        if found.get("type") == "directory":
            raise NotThere(str(name))
        tag = next((str(found[key]) for key in _TAGS if found.get(key)), None)
        if tag is None and found.get(WEAK):
            tag = f"{WEAK}: {found[WEAK]}"
        size = found.get("size")
        if isinstance(size, int) and size > MAX_BYTES:
            raise ZooError(f"{self.where(name)}: has {size:,} bytes; {MAX_BYTES:,} are fetched at most")
        return FileRecord(size=size if isinstance(size, int) and size >= 0 else None, tag=tag[:400] if tag else None)

    def read(self, name: PurePosixPath | str, limit: int) -> bytes:
        """A small file.

        Raises:
            NotThere: It is not there.
            ZooUnreachable: No answer.
            ZooError: It is larger than ``limit`` bytes.
        """
        data = b""
        with self.open(name, 0) as (stream, _):
            while len(data) <= limit and (chunk := stream.read(min(CHUNK, limit + 1 - len(data)))):
                data += chunk
        if len(data) > limit:
            raise ZooError(f"{self.where(name)}: larger than {limit} bytes")
        return data

    @contextlib.contextmanager
    def open(self, name: PurePosixPath | str, start: int) -> Iterator[tuple[BinaryIO, int]]:
        """A stream from byte ``start`` on, and the byte it starts at: 0 where the server has no ranges."""
        with self._told(name):
            stream, begin = self._stream(self.path(name), start)
        try:
            yield cast(BinaryIO, _Stream(stream, self, name)), begin
        finally:
            with contextlib.suppress(Exception):
                stream.close()

    def _stream(self, path: str, start: int) -> tuple[Any, int]:
        if not self._http:
            stream = self._fs.open(path, "rb", block_size=CHUNK, cache_type="none")
            stream.seek(start)
            return stream, start
        ranges = {"Range": f"bytes={start}-"} if start else {}
        headers = {**self._headers, **ranges, "Accept-Encoding": "identity"}
        # a size keeps fsspec from asking for it once more
        stream = self._fs.open(path, "rb", block_size=0, size=1, headers=headers)
        resumed = stream.r.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        return stream, start if stream.r.status == 206 and resumed else 0

    def find(self, name: PurePosixPath | str = "", depth: int | None = None, most: int = MAX_FILES) -> list[str]:
        """Every file below a folder, relative to it; an empty list where there is none.

        Raises:
            ZooUnreachable: No answer, or it lists more than is believable.
        """
        top = self.path(name)
        try:
            with self._told(name):
                # other backends list flat in few requests, unless a depth is asked for
                found = self._fs.find(f"{top}/", maxdepth=depth) if self._http else self._fs.find(top)
        except NotThere:
            return []
        if len(found) > most:
            raise ZooUnreachable(f"{self.where(name)}: lists more than {most} files")
        start = f"{top}/".lstrip("/")
        below = (str(path).lstrip("/")[len(start) :] for path in found if str(path).lstrip("/").startswith(start))
        return sorted(map(unquote, below) if self._http else below)

    def put(self, local: Path, name: PurePosixPath | str) -> None:
        """Copy a file there."""
        with self._told(name):
            self._fs.put_file(os.fspath(local), self.path(name))

    def write(self, data: bytes, name: PurePosixPath | str) -> None:
        """Write a small file there."""
        with self._told(name):
            self._fs.pipe_file(self.path(name), data)

    def remove(self, name: PurePosixPath | str) -> None:
        """Remove a file there."""
        with self._told(name):
            self._fs.rm_file(self.path(name))

    @contextlib.contextmanager
    def _told(self, name: PurePosixPath | str) -> Iterator[None]:
        try:
            yield
        except (ZooError, NotThere):
            raise
        except Exception as error:  # noqa: BLE001 - backends raise what their client libraries raise
            raise self._translated(error, name) from None

    def _translated(self, error: Exception, name: PurePosixPath | str) -> Exception:
        cause: BaseException | None = error
        while isinstance(cause, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            # over HTTP, fsspec says "not found" of a server that did not answer, too
            cause = cause.__cause__ if self._http else None
        if cause is None or _status(cause) == 404:
            return NotThere(str(name))
        if isinstance(cause, ZooError):
            return cause
        return ZooUnreachable(f"{self.where(name)}: {redacted(reason(cause))[:200]}")


class _Stream:
    """A backend's stream whose errors are ours."""

    def __init__(self, stream: Any, remote: Remote, name: PurePosixPath | str) -> None:
        self._stream, self._remote, self._name = stream, remote, name

    def read(self, count: int) -> bytes:
        with self._remote._told(self._name):
            return bytes(self._stream.read(count))


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
