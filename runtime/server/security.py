"""Access control: allowed hosts, origins and the API key; and the security headers of the chat page."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tinylm.runtime.page.assembly import content_security_policy
from tinylm.runtime.server.errors import ApiError

OPEN_PATHS = frozenset({"/", "/health", "/favicon.ico", "/openapi.json"})
"""Paths that need no key: they cost nothing and reveal nothing about anyone."""

MAX_HEAD_BYTES = 16_384
"""Of a request's line and headers together."""


@dataclass(frozen=True)
class Access:
    """Who may use the server.

    Attributes:
        host: the address that it binds.
        key: that clients must send; None: none.
        allowed_hosts: host names by which clients may address it, beside its own.
        origins: of web pages that may use it, beside its own; `*`: all.
    """

    host: str
    key: str | None = None
    allowed_hosts: Sequence[str] = ()
    origins: Sequence[str] = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def allows_host(self, header: str) -> bool:
        """Whether a request may have this `Host` header.

        A page elsewhere can let its own name resolve to this machine (DNS rebinding), but it cannot hide that name.
        With a key, and not on loopback, names are free: such a page does not have it.
        """
        name = _host_name(header)
        if name is None:
            return False
        if name in {allowed.lower() for allowed in self.allowed_hosts}:
            return True
        if self.loopback:
            return is_loopback(name)
        own = socket.gethostname().lower()
        return self.key is not None or _is_address(name) or name in {"localhost", own, f"{own}.local"}

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a web page of this origin may ask: the server's own pages, and those that are allowed."""
        return "*" in self.origins or origin in self.origins or urlsplit(origin).netloc.lower() == host.lower()

    def allows_key(self, authorization: str) -> bool:
        """Whether an `Authorization` header has the key; compared in constant time."""
        if self.key is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode(), self.key.encode()) and scheme.lower() == "bearer"


class Guard:
    """Refuses forbidden and ambiguous requests before their body is read.

    Args:
        app: the application inside.
        access: who may use it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, access = Headers(scope=scope), self._access
        head = len(scope["raw_path"]) + len(scope["query_string"])
        if head + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            raise ApiError(431, f"the request's head is longer than {MAX_HEAD_BYTES:,} bytes", "head_too_long")
        if "transfer-encoding" in headers and ("content-length" in headers or scope["http_version"] != "1.1"):
            # Proxies and servers differ in where such a body ends (RFC 9112, 6.1 and 6.3)
            raise ApiError(400, "Transfer-Encoding beside Content-Length, or in HTTP/1.0: not accepted", "invalid_http")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not access.allows_host(hosts[0]):
            raise ApiError(
                403,
                "this host name is not allowed here; `tinylm serve --allowed-host NAME` allows one",
                "host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is not None and not access.allows_origin(origin, hosts[0]):
            raise ApiError(
                403,
                "this origin is not allowed here; `tinylm serve --cors-origin ORIGIN` allows one",
                "origin_not_allowed",
            )
        if scope["path"] not in OPEN_PATHS and not access.allows_key(headers.get("authorization", "")):
            raise ApiError(401, "the API key is missing or wrong: Authorization: Bearer KEY", "invalid_api_key")


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine alone."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def page_headers(page: bytes) -> dict[str, str]:
    """Headers with which a page can run only its own inline style and script, and reach only this server."""
    return {
        "content-security-policy": content_security_policy(
            page, {"connect-src": "'self'", "frame-ancestors": "'none'"}
        ),
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-cache",
    }


def _host_name(header: str) -> str | None:
    """The name in a `Host` header, in small letters and without its port."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return (parts.hostname or "").rstrip(".") or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
