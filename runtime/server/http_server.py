"""uvicorn with limits on connections: how many, how slow, and how they end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import h11
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tinylm.errors import TinyLMError
from tinylm.runtime.server.errors import ApiError, invalid
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.security import MAX_HEAD_BYTES

log = logging.getLogger("tinylm.serve")

HEADER_S = 15.0
"""Time for the head of a request, from the beginning of a connection or the end of the last response."""

STALLED_S = 30.0
"""A client that reads nothing of its response for so long is disconnected."""

KEEP_ALIVE_S = 5
_WRITE_BUFFER = 32_768
_BACKLOG = 128
_POLL_S = 0.05
_RESERVED_DESCRIPTORS = 64
_LOG_EVERY_S = 60.0
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connection(H11Protocol):
    """A connection with time limits, which may have to give way to another.

    Where there are too many, of one client's address or of all, the one that has been without a request for longest is
    closed: idle connections lock nobody out. A new connection is refused only where all others have requests under way,
    or are so new that theirs may be on the way.
    """

    max_connections = 256
    max_per_address = 128
    header_seconds = HEADER_S
    settling_seconds = 0.5
    stalled_seconds = STALLED_S
    idle_since = 0.0
    address = ""
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        # asyncio does so only where a socket names its protocol. Without it, the body of a response waits up to 40 ms
        # for the client's acknowledgement of the head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = client_of(self.client[0] if self.client else "")
        self.idle_since = time.monotonic()
        if self._make_room():
            self._wait_for_head()
        else:
            self._refuse(ApiError(429, "too many connections", "too_many_connections", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
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

    def on_response_complete(self) -> None:
        """A response has been sent."""
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read on."""
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

    def _make_room(self) -> bool:
        """Whether this connection may stay; another may have been closed for it."""
        others = [one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing()]
        crowd = [one for one in others if one.address == self.address]
        if len(crowd) <= self.max_per_address:
            if len(others) <= self.max_connections:
                return True
            (most, _), *_ = Counter(one.address for one in others).most_common(1)
            crowd = [one for one in others if one.address == most]
        since = time.monotonic() - self.settling_seconds
        idle = [one for one in crowd if one is not self and one.idle and one.idle_since <= since]
        if not idle:
            return False
        min(idle, key=lambda one: one.idle_since).transport.abort()
        return True

    def _refuse(self, error: ApiError) -> None:
        body = msgspec.json.encode(error.body)
        named = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        headers = [(name.encode(), value.encode()) for name, value in {**named, **error.headers}.items()]
        try:
            events = [h11.Response(status_code=error.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        except h11.LocalProtocolError:  # in the middle of a response
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
    """Shuts down in order: no new requests, some time for open streams, then the rest end with an error.

    Args:
        config: of uvicorn.
        scheduler: stopped with the server.
        grace: seconds for the requests under way.
        ready: called once the server can be reached.
        reload: called on SIGHUP, where the system has it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        scheduler: Scheduler,
        grace: float,
        ready: Callable[[], object],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._scheduler, self._grace, self._ready, self._reload = scheduler, grace, ready, reload
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_terminal = os.isatty(2)
        self._last_complaint = float("-inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._handle_loop_error)
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGHUP, self._start_reload)
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
        """A signal to end; the second one ends without grace."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    def _start_reload(self) -> None:
        """SIGHUP: load the bundles again; or end, where it means that the terminal has been closed."""
        if self._on_terminal and not os.isatty(2):
            self.should_exit = True
            return
        task = asyncio.get_running_loop().create_task(self._run_reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_reload(self) -> None:
        await self._reload()

    def _handle_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error in the event loop; one of many a minute where connections cannot be accepted."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _OUT_OF_DESCRIPTORS:
            if time.monotonic() - self._last_complaint > _LOG_EVERY_S:
                self._last_complaint = time.monotonic()
                log.error("New connections must wait: %s. Raise the limit of open files.", error.strerror)
            return
        loop.default_exception_handler(context)


def make_server(
    app: ASGIApp,
    scheduler: Scheduler,
    grace: float,
    ready: Callable[[], object],
    reload: Callable[[], Awaitable[None]],
) -> Server:
    """A server for an application, with its limits.

    Args:
        app: the application.
        scheduler: stopped with the server.
        grace: seconds for open streams when the server ends.
        ready: called once the server can be reached.
        reload: called on SIGHUP.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    most = min(Connection.max_connections, descriptor_limit() - _RESERVED_DESCRIPTORS)
    config = uvicorn.Config(
        app,
        http=type("Connection", (Connection,), {"max_connections": max(1, most)}),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=KEEP_ALIVE_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return Server(config, scheduler, grace, ready, reload)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; at `::` by IPv4 as well as IPv6.

    Raises:
        TinyLMError: the address cannot be bound.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise TinyLMError(
            f"cannot listen at {host} port {port} ({reason}): choose another by --host or --port"
        ) from None


def client_of(address: str) -> str:
    """What counts as one client: an address of IPv4, or a network of IPv6, in which a client has 2**64 addresses."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip, 64), strict=False))


def descriptor_limit() -> int:
    """How many files and sockets this process may have open; raised as far as the system allows without asking."""
    try:
        import resource
    except ImportError:  # Windows, whose limit is far away
        return 1 << 16
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Connection.max_connections + 2 * _RESERVED_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    try:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        return soft
    return raised
