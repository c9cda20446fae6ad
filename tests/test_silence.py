"""No telemetry: half a minute of each command in a home of its own, observed by its system calls.

What counts is what happened, not what the environment says: no look-up, no connection, no socket but the server's own,
and no file outside TinyLM's cache folder and the outputs that were asked for.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from observer import Observed

# Set, a missing strace is a failure and no skip
REQUIRED = os.environ.get("TINYLM_REQUIRE_STRACE") == "1"
SECONDS = 30
SUPPORT = Path(__file__).parent / "support"
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
CHAT = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); sys.argv[0] = 'tinylm'; "
CHAT += "from tinylm.cli.main import main; main()"
# As a program might that uses both: too late, and the variable is set all the same
TOO_LATE = """
import warnings
import onnxruntime
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tinylm
import os
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
print([str(warning.message) for warning in caught])
"""
REACHING = """
import socket
for family in (socket.AF_INET, socket.AF_INET6):
    socket.socket(family, socket.SOCK_DGRAM).close()
try:
    socket.create_connection(("192.0.2.1", 443), timeout=1)
except OSError:
    pass
server = socket.create_server(("127.0.0.1", 0))
open("beside", "w").close()
"""


def strace_works():
    """Whether strace is there and may trace; some containers forbid it."""
    command = ["strace", "-f", "-o", os.devnull, "true"]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


if not REQUIRED and not strace_works():
    pytest.skip("needs strace: apt install strace", allow_module_level=True)


class Watched:
    """A command in a fresh home under observation, with a folder for what it is asked to write."""

    def __init__(self, folder, command, **options):
        self.home, self.out = folder / "home", folder / "out"
        for path in (self.home, self.out, self.home / "tmp"):
            path.mkdir(parents=True)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
        places = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "TERM": "xterm", "LANG": "C.UTF-8"}
        self.process = Observed(
            command,
            folder / "traces",
            env={**kept, **places, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "default"},
            cwd=self.out,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},
        )
        self.started = time.monotonic()

    def rest(self):
        """Wait until its half a minute is over."""
        time.sleep(max(0.0, SECONDS - (time.monotonic() - self.started)))

    def end(self):
        """What it did, once it has ended well."""
        said = self.process.communicate(timeout=300)[0]
        assert self.process.returncode == 0, said
        return self.process.observation(), said


class WatchedChat(Watched):
    """`tinylm chat` at a terminal, whose prompt stays open."""

    def __init__(self, folder):
        self.master, slave = pty.openpty()
        terminal = {"stdin": slave, "stdout": slave, "stderr": slave}
        super().__init__(folder, [sys.executable, "-c", CHAT, "chat", "--temperature", "0"], **terminal)
        os.close(slave)
        os.write(self.master, b"Hello, who are you?\n")

    def end(self):
        said = b""
        while time.monotonic() - self.started < SECONDS or b"Pip" not in said:
            assert time.monotonic() - self.started < 300, said
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    said += os.read(self.master, 65536)
                except OSError:
                    pytest.fail(f"the chat has ended: {said.decode()}")
        os.write(self.master, b"/quit\n")
        assert self.process.wait(60) == 0
        os.close(self.master)
        return self.process.observation(), said


class WatchedServer(Watched):
    """`tinylm serve`, which is asked at the beginning and at the end."""

    def __init__(self, folder):
        super().__init__(folder, [sys.executable, "-m", "tinylm", "serve", "--port", "0"], text=True)

    def ask(self, url):
        body = json.dumps({"messages": [{"role": "user", "content": "Hello!"}]}).encode()
        request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"]

    def end(self):
        said = ""
        while not (found := re.search(r"(http://\S+)/v1", said)):
            line = self.process.stdout.readline()
            assert line, said
            said += line
        self.ask(found[1])
        self.rest()
        self.ask(found[1])
        self.process.send_signal(signal.SIGINT)
        return super().end()


def lingering(*arguments):
    """A command that lives on for its half a minute once it is done."""
    return [sys.executable, SUPPORT / "lingering.py", SECONDS, *arguments]


@pytest.fixture(scope="module")
def observations(runs, samples, settings, tmp_path_factory):
    """What each command did; all of them at the same time."""
    folder = tmp_path_factory.mktemp("silence")
    genai = folder / "genai-bundle"
    export = ["tinylm", "export", runs["classic"], "--genai", "--out", genai]
    subprocess.run([sys.executable, "-m", *export], check=True, capture_output=True)
    data = [word for name in ("messages.parquet", "corpus.yml") for word in ("--finetune", samples / name)]
    train = ["train", "--pretrain", samples / "raw.txt", *data, "--steps", 4, "--tensorboard", "--out", "run"]
    commands = {
        "bench": lingering("tinylm", "bench"),
        "doctor": lingering("tinylm", "doctor"),
        "train": lingering("tinylm", *train, *settings()),
        "export": lingering("tinylm", "export", runs["classic"], "--quantize", "--out", "bundle"),
        "eval": lingering("tinylm", "eval", runs["classic"], "--data", samples / "raw.txt"),
        "scripted_chat": lingering(EXAMPLES / "scripted_chat.py"),
        "genai_chat": lingering(EXAMPLES / "genai_chat.py", genai),
    }
    watched = {"chat": WatchedChat(folder / "chat"), "serve": WatchedServer(folder / "serve")}
    watched |= {name: Watched(folder / name, command) for name, command in commands.items()}
    with ExitStack() as at_the_end:
        for one in watched.values():
            at_the_end.callback(one.process.stop)
        return {name: (one, *one.end()) for name, one in watched.items()}


@pytest.mark.parametrize(
    "name", ["chat", "serve", "bench", "doctor", "train", "export", "eval", "scripted_chat", "genai_chat"]
)
def test_it_is_silent(name, observations):
    watched, seen, _ = observations[name]
    assert seen.network == []
    assert seen.files_outside(watched.home / ".cache" / "tinylm", watched.out) == []
    left = {path.relative_to(watched.home) for path in watched.home.rglob("*") if path.is_file()}
    assert {path for path in left if path.parts[:2] != (".cache", "tinylm")} == set()


def test_it_did_what_it_was_asked(observations):
    """Or silence would prove nothing."""
    assert (observations["train"][0].out / "run" / "report.html").is_file()
    assert list((observations["train"][0].out / "run").rglob("events.out.tfevents*"))
    assert (observations["export"][0].out / "bundle" / "manifest.json").is_file()
    for name in ("chat", "serve", "bench"):
        watched, seen, _ = observations[name]
        cache = watched.home / ".cache" / "tinylm"
        assert any(path.is_relative_to(cache) for path in seen.files), name


def test_a_variable_that_is_set_too_late_is_seen(tmp_path):
    watched = Watched(tmp_path / "late", [sys.executable, "-c", TOO_LATE])
    seen, said = watched.end()
    assert b"onnxruntime was imported before tinylm" in said
    outside = seen.files_outside(watched.home / ".cache" / "tinylm", watched.out)
    assert watched.home / ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid" in outside
    assert (watched.home / ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid").is_file()


def test_what_reaches_for_the_network_or_writes_elsewhere_is_seen(tmp_path):
    watched = Watched(tmp_path / "reaching", [sys.executable, "-c", REACHING])
    seen, _ = watched.end()
    assert [call.split(",")[0] for call in seen.network if call.startswith("socket")] == [
        "socket(AF_INET",
        "socket(AF_INET6",
        "socket(AF_INET",
    ]
    (connect,) = [call for call in seen.network if call.startswith("connect")]
    assert "192.0.2.1" in connect
    assert seen.files_outside(watched.home) == [watched.out / "beside"]
    assert seen.files_outside(watched.out) == []
