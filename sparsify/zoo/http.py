"""Zoos on web servers: which addresses are allowed, and where a server may send us."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urljoin, urlsplit

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo.names import shown

_SECONDS = 20
_SECONDS_SILENT = 60


def check_address(url: str) -> None:
    """Refuse addresses that could be read or changed on the way.

    Raises:
        ZooError: Plain http to another machine, or an address with a query (files cannot be appended to it).
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ZooError(f"not an address: {shown(url)}") from error
    if parts.query or parts.fragment:
        raise ZooError(
            f"{shown(url)}: the address of a zoo has no query; give credentials as its options (docs/zoo.md)"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ZooError(f"{shown(url)}: plain http can be changed on the way; use https (http is for this machine only)")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_redirect(origin: str, location: str) -> bool:
    """Whether a server at ``origin`` may send us to ``location``: from https to https, on this machine to this machine."""
    target = urlsplit(urljoin(origin, location))
    if target.scheme == "https":
        return True
    local = is_loopback(target.hostname or "") and is_loopback(urlsplit(origin).hostname or "")
    return target.scheme == "http" and urlsplit(origin).scheme == "http" and local


def client_options() -> dict[str, Any]:
    """Options of fsspec's HTTP file system: redirects checked, no limit on how long a large file may take.

    Raises:
        ZooError: aiohttp is not installed.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise ZooError("zoos on web servers need aiohttp: pip install 'fsspec[http]'") from error

    async def check(session: Any, context: Any, params: Any) -> None:
        location = params.response.headers.get("Location", "")
        if not allowed_redirect(str(params.response.url), location):
            said = shown(urljoin(str(params.response.url), location))
            raise ZooUnreachable(f"{shown(str(params.url))}: refused to be sent to {said}: not https")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SECONDS_SILENT)
    return {"client_kwargs": {"trace_configs": [trace], "timeout": timeout}}
