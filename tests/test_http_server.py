"""Connections that come to nothing: too slow, too many, or never reading."""

import os
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from tinylm.errors import TinyLMError
from tinylm.runtime.server.http_server import Connection, client_of, make_server, open_socket


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


async def hold(scope, receive, send):
    """A response that begins and does not end while its client is there."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def nothing():
    """A reload with nothing to do."""


@pytest.fixture
def serve():
    """Serve an application in a thread; the port."""
    with ExitStack() as stack:

        def start(app, host="127.0.0.1"):
            ready = threading.Event()
            listener = stack.enter_context(open_socket(host, 0))
            server = make_server(app, Idle(), 0, ready.set, nothing)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            assert ready.wait(30)
            return listener.getsockname()[1]

        yield start


@pytest.fixture
def port(serve, monkeypatch):
    monkeypatch.setattr(Connection, "header_seconds", 0.3)
    monkeypatch.setattr(Connection, "stalled_seconds", 0.3)
    return serve(flood)


def connect(port, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))


def ask(client):
    client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    return client.recv(1000)


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


@pytest.fixture
def crowded(serve, monkeypatch):
    """A server for three connections, two of an address, whose responses do not end."""
    monkeypatch.setattr(Connection, "max_connections", 3)
    monkeypatch.setattr(Connection, "max_per_address", 2)
    monkeypatch.setattr(Connection, "settling_seconds", 0.0)
    return serve(hold)


def test_idle_connections_of_one_host_lock_nobody_out(crowded):
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(crowded)) for _ in range(6)]
        # The same host, and others
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            client = stack.enter_context(connect(crowded, source))
            assert ask(client).startswith(b"HTTP/1.1 200 ")
        for client in idle:
            assert ended(client)


def test_a_new_connection_does_not_give_way_to_newer_ones(crowded, monkeypatch):
    monkeypatch.setattr(Connection, "settling_seconds", 3600.0)
    with ExitStack() as stack:
        first, second = (stack.enter_context(connect(crowded)) for _ in range(2))
        for _ in range(3):
            assert stack.enter_context(connect(crowded)).recv(1000).startswith(b"HTTP/1.1 429 ")
        for client in (first, second):
            assert ask(client).startswith(b"HTTP/1.1 200 ")


def test_one_address_with_too_many_requests_is_told_so_and_others_are_served(crowded):
    with ExitStack() as stack:
        for _ in range(2):
            assert ask(stack.enter_context(connect(crowded))).startswith(b"HTTP/1.1 200 ")
        answer = stack.enter_context(connect(crowded)).recv(1000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in answer
        assert ask(stack.enter_context(connect(crowded, "127.0.0.2"))).startswith(b"HTTP/1.1 200 ")
        assert stack.enter_context(connect(crowded, "127.0.0.3")).recv(1000).startswith(b"HTTP/1.1 429 ")


def test_what_counts_as_one_client():
    assert client_of("192.0.2.7") == client_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
    assert client_of("") == ""


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
def test_the_wildcard_of_ipv6_takes_ipv4_too(serve):
    port = serve(hold, "::")
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port), timeout=30) as client:
            assert ask(client).startswith(b"HTTP/1.1 200 ")


def test_descriptors_that_run_out_are_logged_once_and_come_back(serve, caplog):
    resource = pytest.importorskip("resource")
    port = serve(hold)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(port) as first, ExitStack() as stack:
        assert ask(first)
        waiting = [stack.enter_context(socket.socket()) for _ in range(8)]
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            for client in waiting:
                client.settimeout(30)
                client.connect(("127.0.0.1", port))
            time.sleep(2.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert ask(waiting[-1]).startswith(b"HTTP/1.1 200 ")
    assert len(caplog.records) == 1
    assert "Raise the limit of open files" in caplog.text


def test_the_limit_of_connections_leaves_descriptors_to_others(monkeypatch):
    monkeypatch.setattr("tinylm.runtime.server.http_server.descriptor_limit", lambda: 100)
    server = make_server(hold, Idle(), 0, lambda: None, nothing)
    server.config.load()
    assert server.config.http_protocol_class.max_connections == 36


def test_another_machine_s_address_is_one_line():
    for host in ("203.0.113.1", "a" * 70, "no host"):
        with pytest.raises(TinyLMError, match="cannot listen at"):
            open_socket(host, 0)


def test_small_parts_of_a_response_do_not_wait_for_each_other(serve, monkeypatch):
    make_room, options = Connection._make_room, []

    def note(connection):
        accepted = connection.transport.get_extra_info("socket")
        options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return make_room(connection)

    monkeypatch.setattr(Connection, "_make_room", note)
    with connect(serve(hold)) as client:
        assert ask(client)
    assert len(options) == 1
    assert options[0] != 0
