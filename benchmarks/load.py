"""Clients of a server, good and bad, in plain asyncio: they share the machine with it and must cost little."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

CHAT = "/v1/chat/completions"
_PATIENCE = 120.0
_DEAD = 1.0
_SLOW_BUFFER = 4096
_RETRIES = 2
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)


@dataclass
class Streamed:
    """A streamed reply, as its client saw it.

    Attributes:
        ok: whether it came whole.
        seconds: to its end.
        tokens: of the reply.
        retry_after: seconds after which a busy server asks to be asked again; None where it was not busy.
    """

    ok: bool
    seconds: float
    tokens: int = 0
    retry_after: float | None = None


@dataclass
class Load:
    """What many clients saw.

    Attributes:
        streams: the replies.
        statuses: how often each status came, of requests that were no good.
        seconds: in all.
    """

    streams: list[Streamed] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Replies that did not come whole."""
        return sum(not stream.ok for stream in self.streams)

    @property
    def tokens_per_second(self) -> float:
        """Of all clients together."""
        return sum(stream.tokens for stream in self.streams) / self.seconds


def body_of(message: str, tokens: int) -> dict[str, Any]:
    """A request for a streamed reply of so many tokens."""
    return {
        "messages": [{"role": "user", "content": message}],
        "max_tokens": tokens,
        "temperature": 0.8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def stream_for(port: int, clients: int, seconds: float, message: str, tokens: int) -> Load:
    """Let so many clients ask at the same time, one request after the other, for so long."""
    return asyncio.run(_stream_for(port, clients, seconds, message, tokens))


async def _stream_for(port: int, clients: int, seconds: float, message: str, tokens: int) -> Load:
    load = Load()
    started = time.perf_counter()

    async def ask() -> None:
        while time.perf_counter() - started < seconds:
            load.streams.append(await stream(port, body_of(message, tokens)))

    await asyncio.gather(*(ask() for _ in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def stream(port: int, body: dict[str, Any]) -> Streamed:
    """Ask for a streamed reply and read it to its end."""
    started = time.perf_counter()
    tokens, finished, done = 0, False, False
    retry_after: float | None = None
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_of(json.dumps(body).encode()))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 429 " in head[:20] and (wish := _RETRY_AFTER.search(head)):
                retry_after = float(wish[1])
            while b"200 OK" in head[:20] and (line := await reader.readline()):
                if not line.startswith(b"data: "):
                    continue
                finished = finished or b'"finish_reason":"' in line
                if b'"usage"' in line:
                    tokens = json.loads(line[6:])["usage"]["completion_tokens"]
                elif line.startswith(b"data: [DONE]"):
                    done = True
                    break
            writer.close()
    except (OSError, EOFError, TimeoutError):
        pass
    return Streamed(finished and done and tokens > 0, time.perf_counter() - started, tokens, retry_after)


async def _stream_patiently(port: int, body: dict[str, Any]) -> Streamed:
    """The same as the official client does it: of a busy server it asks twice more, when the server says."""
    started = time.perf_counter()
    streamed = await stream(port, body)
    for _ in range(_RETRIES):
        if streamed.retry_after is None:
            break
        await asyncio.sleep(streamed.retry_after)
        streamed = await stream(port, body)
    return replace(streamed, seconds=time.perf_counter() - started)


def request_of(body: bytes, headers: bytes = b"content-type: application/json\r\n") -> bytes:
    """A request as bytes."""
    length = str(len(body)).encode()
    return (
        (b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n" + headers + b"content-length: " + length)
        + b"\r\nconnection: close\r\n\r\n"
        + body
    )


def torment(port: int, vanishing: int, slow: int, malformed: int, message: str) -> Load:
    """Clients of all bad kinds, and a good one all the while.

    Args:
        port: of the server.
        vanishing: clients that leave in the middle of a stream.
        slow: clients that send a byte now and then, or read nothing.
        malformed: requests that make no sense.
        message: that the others send.

    Returns:
        the replies of the good one, and what the malformed requests were answered.
    """
    return asyncio.run(_torment(port, vanishing, slow, malformed, message))


async def _torment(port: int, vanishing: int, slow: int, malformed: int, message: str) -> Load:
    load = Load()
    started = time.perf_counter()
    dice = random.Random(0)
    over = asyncio.Event()

    async def behave() -> None:
        while not over.is_set():
            load.streams.append(await _stream_patiently(port, body_of(message, 32)))
            await asyncio.sleep(0.05)

    async def malform() -> None:
        load.statuses[await status_of(port, nonsense(dice))] += 1

    good = asyncio.create_task(behave())
    slow_ones = [asyncio.create_task(_be_slow(port, over, message, number)) for number in range(slow)]
    await _in_turns(vanishing, 16, lambda: _vanish(port, message, dice.random() * 0.2))
    await _in_turns(malformed, 8, malform)
    over.set()
    await asyncio.gather(good, *slow_ones)
    load.seconds = time.perf_counter() - started
    return load


async def _in_turns(count: int, at_a_time: int, act: Callable[[], Awaitable[None]]) -> None:
    left = iter(range(count))

    async def one() -> None:
        for _ in left:
            await act()

    await asyncio.gather(*(one() for _ in range(at_a_time)))


async def _vanish(port: int, message: str, seconds: float) -> None:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(json.dumps(body_of(message, 800)).encode()))
        await asyncio.sleep(seconds)
        writer.transport.abort()
    except OSError:
        pass


async def _be_slow(port: int, over: asyncio.Event, message: str, number: int) -> None:
    """Even ones send their request byte by byte; odd ones never read their reply."""
    data = request_of(json.dumps(body_of(message, 100)).encode())
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(client, ("127.0.0.1", port))
        if number % 2:
            await loop.sock_sendall(client, data)
        sent = 0
        while not over.is_set():
            if not number % 2 and sent < len(data) - 1:
                await loop.sock_sendall(client, data[sent : sent + 1])
                sent += 1
            await asyncio.sleep(1)
    except OSError:
        pass  # the server had enough
    finally:
        client.close()


async def status_of(port: int, data: bytes) -> int:
    """The status that bytes are answered with; 0: none, the connection just ends."""
    answer = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            try:
                async with asyncio.timeout(_DEAD):
                    answer = await reader.readline()
            except TimeoutError:
                pass  # it waits for more, as it should
            writer.transport.abort()
    except OSError:
        pass
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def nonsense(dice: random.Random) -> bytes:
    """A request that is wrong somewhere, or at least strange."""
    good: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    kind = dice.randrange(7)
    if kind == 0:  # not HTTP
        return dice.randbytes(dice.randrange(1, 400)) + b"\r\n\r\n"
    if kind == 1:  # not JSON
        return request_of(dice.randbytes(dice.randrange(200)))
    if kind == 2:  # JSON cut short
        text = json.dumps(good).encode()
        return request_of(text[: dice.randrange(len(text))])
    if kind == 3:  # something else where a value was
        name = dice.choice(["messages", "model", "temperature", "stop", "stream", "seed", "logit_bias", "n", "tools"])
        return request_of(json.dumps({**good, name: _anything(dice, 3)}).encode())
    if kind == 4:  # wrong messages
        return request_of(json.dumps({"messages": [_anything(dice, 2) for _ in range(dice.randrange(4))]}).encode())
    if kind == 5:  # strange headers
        headers = b"content-type: application/json\r\n" + bytes(dice.choices(b"ab:;,= \t\r\n\x00\xff", k=40)) + b"\r\n"
        return request_of(json.dumps(good).encode(), headers)
    path = "".join(dice.choices("/v1%20chat.?&=#\\..;", k=dice.randrange(1, 60)))
    method = dice.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "X"])
    return f"{method} /{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode()


def _anything(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(9 if depth else 7)
    if kind == 7:
        return [_anything(dice, depth - 1) for _ in range(dice.randrange(4))]
    if kind == 8:
        names = ["role", "content", "type", "text", "x", ""]
        return {dice.choice(names): _anything(dice, depth - 1) for _ in range(dice.randrange(4))}
    values = [None, dice.random() < 0.5, dice.randrange(-5, 5), 10 ** dice.randrange(400), dice.uniform(-1e9, 1e9)]
    return [*values, "".join(map(chr, dice.choices(range(0xD800), k=9))), "user"][kind]
