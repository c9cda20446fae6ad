"""Outermost ASGI middleware: errors become responses, and each request is counted and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinylm.runtime.server.errors import ApiError, internal_error
from tinylm.runtime.server.metrics import Metrics

log = logging.getLogger("tinylm.serve")

_UNREAD = frozenset({400, 401, 403, 408, 411, 413, 415, 429, 431, 499})
"""Statuses of responses that may come before all of the body: its rest is not waited for."""


class Frame:
    """The outermost middleware.

    Args:
        app: the application inside.
        metrics: counts requests.
        paths: that are counted each by itself; all others are counted together.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        status = 0
        started = time.perf_counter()
        path = scope["path"]
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        if path != "/" and path.endswith("/"):
            # A slash at the end means the same address
            path = path.rstrip("/") or "/"
            scope = {**scope, "path": path}

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if status in _UNREAD and has_body:
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, note)
        except ApiError as error:
            if not status:
                await _respond(error, scope, receive, note)
        except Exception:
            log.exception("An error of the server's own.")
            if status:
                raise
            await _respond(internal_error(), scope, receive, note)
        finally:
            self._metrics.answered(path if path in self._paths else "other", status)
            # The path as it came, escaped: it may hold anything, and a query may hold more
            seconds = time.perf_counter() - started
            log.info("%s %s %s %.0f ms", scope["method"], scope["raw_path"].decode("ascii"), status, seconds * 1e3)


async def _respond(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    body = msgspec.json.encode(error.body_for(scope["path"]))
    await Response(body, error.status, error.headers, "application/json")(scope, receive, send)
