"""A server whose bundles change, whose clients send ambiguous requests, and that has to say where it is."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.server import addresses

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello! Who are you?"}], "temperature": 0}
JSON = {"content-type": "application/json"}
UNIX = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


@pytest.fixture
def copy(tmp_path):
    """A bundle that may be changed."""
    folder = tmp_path / "mine"
    shutil.copytree(DEMO_BUNDLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


def say(url, **more):
    answer = httpx.post(url + CHAT, json={**HELLO, **more}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def lines_until(process, word):
    """What a process says on stderr up to a line with this word."""
    said = ""
    while word not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def test_a_bundle_that_is_overwritten_is_not_followed(copy, start_server):
    with start_server(copy) as server:
        expected = say(server.url)
        for file in copy.iterdir():
            data = file.read_bytes()
            with file.open("r+b") as opened:  # as cp does it: the same file, first empty
                opened.truncate(0)
                opened.write(data[::-1])
        assert say(server.url) == expected
        assert httpx.get(server.url + "/health").status_code == 200


@UNIX
def test_sighup_loads_a_bundle_again_and_loses_no_stream(copy, bundle, start_server):
    with start_server(copy) as server:
        expected = say(server.url)
        endless = {**HELLO, "logit_bias": {"2": -100}, "max_tokens": 200, "stream": True}
        whole = say(server.url, logit_bias={"2": -100}, max_tokens=200)
        with httpx.stream("POST", server.url + CHAT, json=endless, timeout=60) as response:
            lines = response.iter_lines()
            first = next(lines)
            copy.rename(copy.with_name("old"))
            shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("__pycache__"))
            server.process.send_signal(signal.SIGHUP)
            lines_until(server.process, "mine: loaded again")
            text = "".join(re.findall(r'"content":"((?:[^"\\]|\\.)*)"', "\n".join([first, *lines])))
        assert text.encode().decode("unicode_escape") == whole
        assert say(server.url) != expected
        models = httpx.get(server.url + "/v1/models").json()["data"]
        assert [(model["id"], model["context_length"]) for model in models] == [("mine", 96)]
        server.stop()


@UNIX
def test_a_bundle_that_cannot_be_loaded_again_is_served_as_it_was(copy, start_server):
    with start_server(copy) as server:
        expected = say(server.url)
        (copy / "model.onnx").write_bytes(b"half of it")
        server.process.send_signal(signal.SIGHUP)
        said = lines_until(server.process, "served as it was")
        assert "model.onnx" in said
        assert say(server.url) == expected
        assert httpx.get(server.url + "/health").status_code == 200


def test_several_bundles_are_served_by_name(copy, bundle, start_server):
    with start_server(copy, bundle) as server:
        names = [model["id"] for model in httpx.get(server.url + "/v1/models").json()["data"]]
        assert names == ["mine", bundle.name]
        assert f"The models are mine, {bundle.name}" in server.said + server.process.stderr.readline()
        assert say(server.url) == say(server.url, model="mine") != say(server.url, model=bundle.name)
        assert httpx.post(server.url + CHAT, json={**HELLO, "model": "gpt"}).status_code == 404
        assert httpx.get(f"{server.url}/v1/models/{bundle.name}").json()["context_length"] == 96


def test_names_of_several_bundles(run_cli, copy, tmp_path):
    twin = tmp_path / "elsewhere" / "mine"
    shutil.copytree(copy, twin)
    for arguments, words in (
        ([copy, twin], "two bundles have the name mine"),
        ([copy, twin, "--name", "a"], "--name is for one bundle"),
    ):
        result = run_cli("serve", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def raw(http, *parts):
    """What a connection is answered until it is closed by the server, and whether it was."""
    with socket.create_connection(("127.0.0.1", http.base_url.port), timeout=20) as client:
        for part in parts:
            client.sendall(part)
        answer = b""
        while part := client.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    ],
)
def test_a_body_whose_end_is_ambiguous_is_refused_and_nothing_after_it_is_read(head, http):
    head = head.replace(b"Host: a", b"Host: 127.0.0.1")
    answer = raw(http, head + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (400|501) ", answer)
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
    assert b'"status":"ok"' not in answer


def test_a_head_that_comes_at_once_and_is_too_long_is_refused(http):
    many = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 500) for number in range(240))
    for head in (b"GET /health HTTP/1.1\r\n" + many, b"GET /health?" + b"a" * 120_000 + b" HTTP/1.1\r\n"):
        answer = raw(http, head + b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert http.get("/health", headers={"x-long": "a" * 12_000}).status_code == 200


def test_a_slash_at_the_end_is_the_same_address_and_no_redirect(http):
    for path in ("/health/", "/v1/models/", "/v1/models/demo/", "/api/tags/", "/v1/models//"):
        assert http.get(path).status_code == 200
    assert http.post(CHAT + "/", json=HELLO).status_code == 200
    assert http.get("/nothing/").status_code == 404


def test_browser_apps_of_the_official_client_are_let_through(start_server):
    asked = "authorization,content-type,x-stainless-os,x-stainless-retry-count"
    for allowed, origin in (("*", "https://my.page"), ("app://obsidian.md", "app://obsidian.md")):
        with start_server("--cors-origin", allowed, "--host", "0.0.0.0", TINYLM_API_KEY="key") as server:
            port = httpx.URL(server.url).port
            url = f"http://127.0.0.1:{port}"
            preflight = {"access-control-request-method": "POST", "access-control-request-headers": asked}
            answer = httpx.options(url + CHAT, headers={"origin": origin, **preflight})
            assert answer.status_code == 200
            granted = answer.headers["access-control-allow-headers"].lower()
            assert all(name in granted for name in asked.split(","))
            # Pages can read what is wrong
            refusal = httpx.post(url + CHAT, json=HELLO, headers={"origin": origin})
            assert refusal.status_code == 401
            assert refusal.headers["access-control-allow-origin"] == allowed


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_address_for_other_devices_is_printed(host, start_server):
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    with start_server("--host", host, "--no-auth") as server:
        assert "0.0.0.0" not in server.said
        assert "[::]" not in server.said
        shown = httpx.URL(server.url)
        assert shown.host in {*addresses.network_hosts(host), socket.gethostname().lower()}
        for name in ("127.0.0.1", shown.host):
            assert httpx.get(f"http://{name}:{shown.port}/health").status_code == 200
        assert "█" not in server.said


def test_addresses(monkeypatch):
    class Adapter:
        def __init__(self, name, *ips):
            self.nice_name = name
            self.ips = [type("IP", (), {"ip": ip}) for ip in ips]

    adapters = [
        Adapter("lo", "127.0.0.1", ("::1", 0, 0)),
        Adapter("docker0", "172.17.0.1"),
        Adapter("wlan0", ("fd00::2", 0, 0), ("fe80::1", 0, 2), "192.168.1.23", "169.254.0.3"),
        Adapter("eth0", "10.0.0.5", ("2001:db8::5", 0, 0)),
    ]
    monkeypatch.setattr(addresses.ifaddr, "get_adapters", lambda: adapters)
    assert addresses.urls("0.0.0.0", 80) == ["http://192.168.1.23:80", "http://10.0.0.5:80"]
    assert addresses.urls("::", 80) == [*addresses.urls("0.0.0.0", 80), "http://[fd00::2]:80"]
    assert addresses.urls("127.0.0.1", 80) == ["http://127.0.0.1:80"]
    assert addresses.urls("::1", 80) == ["http://[::1]:80"]
    assert addresses.urls("pi.local", 80) == ["http://pi.local:80"]
    adapters.clear()
    assert addresses.urls("0.0.0.0", 80) == [f"http://{socket.gethostname()}:80"]

    def refuse():
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(addresses.ifaddr, "get_adapters", refuse)
    assert addresses.urls("0.0.0.0", 80) == [f"http://{socket.gethostname()}:80"]


class Terminal:
    """`tinylm serve` in a terminal of its own."""

    def __init__(self, *arguments):
        pty = pytest.importorskip("pty")
        self.master, slave = pty.openpty()
        command = [sys.executable, "-c", SET_TERMINAL, *arguments]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        )
        os.close(slave)

    def read_until(self, word):
        said = b""
        while word not in said:
            part = os.read(self.master, 65536)
            assert part, said
            said += part
        return said.decode()


SET_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from tinylm.cli.main import main
sys.argv[1:1] = ["serve", "--port", "0"]
main()
"""


@UNIX
def test_a_terminal_shows_a_qr_code_and_its_end_is_that_of_the_server():
    terminal = Terminal("--host", "0.0.0.0", "--no-auth")
    try:
        said = terminal.read_until("▀▀▀\r\n".encode())
        found = re.search(r"http://\S+?(?=[ ,])", said)[0]
        assert addresses.qr_code(found).splitlines()[1] in said.replace("\r", "")
        terminal.process.send_signal(signal.SIGHUP)
        terminal.read_until(b"loaded again")
    finally:
        os.close(terminal.master)
    assert terminal.process.wait(30) == 0


def test_ollama_s_port_is_listened_at_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = f"""
import sys
from tinylm.runtime.server import service
service.OLLAMA_PORT = {port}
from tinylm.cli.main import main
sys.argv[1:] = ["serve", "--port", "0", "--ollama"]
main()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    with process:
        said = lines_until(process, f"Ollama's clients find it at http://127.0.0.1:{port}.")
        for url in (f"http://127.0.0.1:{port}", re.search(r"http://\S+?(?=,)", said)[0]):
            assert httpx.get(url + "/api/tags").json()["models"][0]["name"] == "demo:latest"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.parametrize("option", ["--time-limit", "--grace"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
def test_numbers_that_are_none_are_refused(option, value, run_cli):
    result = run_cli("serve", f"{option}={value}")
    assert result.exit_code == 2
    assert option in result.stderr


def test_a_signal_ends_a_server_whose_threads_have_ended(tmp_path):
    """Every way of failing leaves a server that says so and can be ended."""
    program = """
import sys
from tinylm.runtime.server import scheduler
def end(*_):
    raise SystemExit
scheduler.Scheduler._begin = end
from tinylm.cli.main import main
sys.argv[1:] = ["serve", "--port", "0", "--grace", "0"]
main()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    with process:
        url = re.search(r"http://\S+?(?=,)", lines_until(process, "/v1"))[0]
        for _ in range(os.cpu_count() or 1):
            with pytest.raises(httpx.TimeoutException):
                httpx.post(url + CHAT, json=HELLO, timeout=1)
        deadline = time.monotonic() + 30
        while (answer := httpx.get(url + "/health")).status_code == 200:
            assert time.monotonic() < deadline
        assert answer.json()["error"]["code"] == "broken"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
