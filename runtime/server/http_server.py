"""uvicorn with limits of our own on connections: how many, how slow, and how they end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from types import FrameType

import h11
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tinylm.errors import TinyLMError
from tinylm.runtime.server.errors import ApiError, invalid
from tinylm.runtime.server.scheduler import Scheduler

HEADER_S = 15.0
"""For the head of a request, from its first byte on a connection or after the last answer."""

STALLED_S = 30.0
"""A client that takes nothing of its answer for so long is let go."""

MAX_HEADER_BYTES = 16_384
KEEP_ALIVE_S = 5
_WRITE_BUFFER = 32_768
_BACKLOG = 512
_POLL_S = 0.05


class Connection(H11Protocol):
    """A connection that must come to the point."""

    max_connections = 256
    header_seconds = HEADER_S
    stalled_seconds = STALLED_S
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """There is a client."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        if len(self.connections) > self.max_connections:
            error = ApiError(429, "too many connections", "too_many_connections", retry_after=1)
            self._refuse(error)
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._wait_for_head()
        elif self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def pause_writing(self) -> None:
        """The client is slow."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(invalid(f"not HTTP/1.1 as this server speaks it ({msg})", code="invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        body = msgspec.json.encode(error.body)
        named = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        headers = [(name.encode(), value.encode()) for name, value in {**named, **error.headers}.items()]
        try:
            events = [h11.Response(status_code=error.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        except h11.LocalProtocolError:  # in the middle of an answer
            self.transport.abort()
        else:
            self.transport.close()

    def _wait_for_head(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _cancel_timers(self) -> None:
        for timer in (self._header_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()


class Server(uvicorn.Server):
    """Ends in order: no new requests, some time for open streams, then the rest are told.

    Args:
        config: of uvicorn.
        scheduler: ended with the server.
        grace: seconds for what is being answered.
        ready: called once the server can be reached.
    """

    def __init__(self, config: uvicorn.Config, scheduler: Scheduler, grace: float, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._scheduler, self._grace, self._ready = scheduler, grace, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._scheduler.close()
        end = time.monotonic() + self._grace
        while self._scheduler.active and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(_POLL_S)
        await asyncio.to_thread(self._scheduler.stop)
        await super().shutdown(sockets)
        # They are dealt with: uvicorn would raise them once more
        self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the second one is meant."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)


def make_server(app: ASGIApp, scheduler: Scheduler, grace: float, ready: Callable[[], object]) -> Server:
    """A server for an application, with its limits.

    Args:
        app: the application.
        scheduler: ended with the server.
        grace: seconds for open streams when the server ends.
        ready: called once the server can be reached.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=KEEP_ALIVE_S,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    return Server(config, scheduler, grace, ready)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        TinyLMError: the address cannot be bound.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise TinyLMError(
            f"cannot listen at {host} port {port} ({error.strerror}): choose another by --host or --port"
        ) from None
