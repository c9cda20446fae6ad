"""Replies on their way to clients: server-sent events, and the client that leaves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.replies import Job
from tinylm.runtime.server.responses import Answer

TOGETHER_S = 0.05
"""Tokens that come within this time share an event: nobody sees the difference, and each event costs like a token."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@asynccontextmanager
async def watched(receive: Receive, cancel: Callable[[], None]) -> AsyncIterator[None]:
    """Cancel when the client leaves, or when what is done here ends in an exception."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except BaseException:
        cancel()
        raise
    finally:
        watcher.cancel()


class EventStream:
    """The answer to a request with `stream`: an ASGI application.

    Args:
        job: whose text it sends; it has begun.
        answer: the form of its events.
        include_usage: whether they end with one on tokens.
        cancel: ends the job when the client leaves.
        done: called at the end.
    """

    def __init__(
        self, job: Job, answer: Answer, include_usage: bool, cancel: Callable[[], None], done: Callable[[], None]
    ) -> None:
        self._job, self._answer, self._include_usage = job, answer, include_usage
        self._cancel, self._done = cancel, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it all."""
        try:
            async with watched(receive, self._cancel):
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                async for event in self._events():
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._done()

    async def _events(self) -> AsyncIterator[bytes]:
        job, answer = self._job, self._answer
        begin = b"".join(map(_event, answer.first()))
        try:
            while text := await job.text():
                yield begin + _event(answer.piece(text))
                begin = b""
                await job.pause(TOGETHER_S)
            result = await job.finished()
        except ApiError as error:
            yield begin + _event(error.body) + b"data: [DONE]\n\n"
            return
        end = [answer.last(result), *([answer.usage(result)] if self._include_usage else [])]
        yield begin + b"".join(map(_event, end)) + b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
