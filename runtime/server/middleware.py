"""What is around every request: errors become answers, and each answer is counted and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.metrics import Metrics

log = logging.getLogger("tinylm.serve")

_UNREAD = frozenset({400, 401, 403, 408, 411, 413, 415, 429, 499})
"""Answers that may come before all of the body: the rest of it is not waited for."""


class Frame:
    """The outermost layer.

    Args:
        app: what is inside.
        metrics: counted here.
        paths: that are told apart when counting; every other is one.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        status = 0
        started = time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if status in _UNREAD and scope["method"] == "POST":
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, note)
        except ApiError as error:
            if not status:
                await _answer(error, scope, receive, note)
        except Exception:
            log.exception("an error of the server's own")
            if status:
                raise
            await _answer(ApiError(500, "the server made a mistake", "internal_error"), scope, receive, note)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, status)
            # The path as it came, escaped: it may hold anything, and a query may hold more
            seconds = time.perf_counter() - started
            log.info("%s %s %s %.0f ms", scope["method"], scope["raw_path"].decode("ascii"), status, seconds * 1e3)


async def _answer(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    body = msgspec.json.encode(error.body)
    await Response(body, error.status, error.headers, "application/json")(scope, receive, send)
