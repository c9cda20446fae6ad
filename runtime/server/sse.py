"""Streamed responses, and clients that disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import Receive, Scope, Send

from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.replies import Replies

if TYPE_CHECKING:
    from tinylm.runtime.server.responses import Answer

TOGETHER_S = 0.05
"""Tokens that come within this time share an event, which costs as much as a token; nobody sees the difference."""

DONE = b"data: [DONE]\n\n"
"""The last event of OpenAI's streams."""


def event(value: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """A server-sent event with a name: the `type` of its value."""
    name: str = value["type"]
    return b"event: " + name.encode() + b"\n" + event(value)


def line(value: Mapping[str, Any]) -> bytes:
    """A line of JSON."""
    encoded: bytes = msgspec.json.encode(value)
    return encoded + b"\n"


@asynccontextmanager
async def watched(receive: Receive, cancel: Callable[[], None]) -> AsyncIterator[None]:
    """Cancel when the client disconnects, or when the body of the context ends in an exception."""

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


class StreamedResponse:
    """Sends replies as they are generated: an ASGI application.

    Args:
        replies: that have begun.
        answer: the form of the response.
        headers: of the response, beside those of every stream.
        cancel: called when the client disconnects.
        done: called at the end.
    """

    def __init__(
        self,
        replies: Replies,
        answer: Answer,
        headers: Mapping[str, str],
        cancel: Callable[[], None],
        done: Callable[[], None],
    ) -> None:
        self._replies, self._answer = replies, answer
        named = {
            "content-type": answer.media_type,
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            **headers,
        }
        self._headers = [(name.encode(), value.encode()) for name, value in named.items()]
        self._cancel, self._done = cancel, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it all."""
        try:
            async with watched(receive, self._cancel):
                await send({"type": "http.response.start", "status": 200, "headers": self._headers})
                async for part in self._parts():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._done()

    async def _parts(self) -> AsyncIterator[bytes]:
        replies, answer = self._replies, self._answer
        begin = answer.begin()
        try:
            while pieces := await replies.pieces():
                yield begin + answer.pieces(pieces)
                begin = b""
                await replies.pause(TOGETHER_S)
            jobs = await replies.finished()
        except ApiError as error:
            yield begin + answer.failed(error)
            return
        yield begin + answer.end(jobs)
