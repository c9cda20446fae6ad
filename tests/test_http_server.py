"""Connections that come to nothing: too slow, too many, or never reading."""

import socket
import threading
import time

import pytest

from tinylm.errors import TinyLMError
from tinylm.runtime.server.http_server import Connection, make_server, open_socket


class Idle:
    """A scheduler without work."""

    active = 0

    def close(self):
        pass

    def stop(self):
        pass


async def flood(scope, receive, send):
    """More than any buffer holds, as fast as it is taken."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(10_000):
        await send({"type": "http.response.body", "body": b"a" * 10_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(Connection, "header_seconds", 0.3)
    monkeypatch.setattr(Connection, "stalled_seconds", 0.3)
    monkeypatch.setattr(Connection, "max_connections", 3)
    ready = threading.Event()
    with open_socket("127.0.0.1", 0) as listener:
        server = make_server(flood, Idle(), 0, ready.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert ready.wait(30)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def ended(client):
    """Whether the other end is gone, however it went."""
    try:
        return client.recv(1000) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(start, port):
    with connect(port) as client:
        client.sendall(start)
        assert ended(client)


def test_a_head_that_trickles_in_is_not_given_more_time(port):
    with connect(port) as client:
        started = time.monotonic()
        try:
            for byte in b"GET / HTTP/1.1\r\n" + b"x" * 10_000:
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        except ConnectionError:
            pass
        assert time.monotonic() - started < 60


def test_a_client_that_takes_nothing_is_let_go(port):
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(1)
        taken = 0
        try:
            while part := client.recv(1_000_000):
                taken += len(part)
        except ConnectionError:
            pass
        assert taken < 100_000_000


def test_one_connection_too_many_is_told_so(port):
    kept = [connect(port) for _ in range(3)]
    with connect(port) as client:
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in answer
    for client in kept:
        client.close()


def test_another_machine_s_address_is_one_line():
    with pytest.raises(TinyLMError, match="cannot listen at"):
        open_socket("203.0.113.1", 0)
