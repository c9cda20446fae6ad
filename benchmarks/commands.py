"""Commands of this environment as processes of their own: how long they take, and a terminal to type into."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import sysconfig
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from workers import memory_mb

from tinylm.errors import TinyLMError

TINYLM = str(Path(sysconfig.get_path("scripts")) / "tinylm")
_SILENCE = 0.3
"""Seconds without output after which a program that sleeps waits for input."""
_PATIENCE = 120.0
_BETWEEN = 0.1  # seconds between two readings of memory
MIB = 1 << 20


class Place:
    """Where commands run: a folder without anything that Python could import, and without the caller's options.

    Args:
        folder: is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TINYLM_")}
        self.environment = {**kept, "TERM": "xterm"}

    def seconds_to_end(self, command: Sequence[str]) -> float:
        """Wall time of a command."""
        started = time.perf_counter()
        with self._start(command) as process:
            assert process.stdout is not None
            process.stdout.read()
            self._check(process)
        return time.perf_counter() - started

    def seconds_to_first_byte(self, command: Sequence[str]) -> float:
        """Time from the start of a command to the first byte that it prints."""
        started = time.perf_counter()
        with self._start(command) as process:
            assert process.stdout is not None
            first = process.stdout.read(1)
            taken = time.perf_counter() - started
            process.stdout.read()
            self._check(process)
        if not first:
            raise TinyLMError(f"{' '.join(command)}: printed nothing")
        return taken

    def output(self, command: Sequence[str]) -> str:
        """What a command prints."""
        with self._start(command) as process:
            assert process.stdout is not None
            printed = process.stdout.readall()
            self._check(process)
        return printed.decode()

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, env=self.environment, cwd=self.folder
        )

    def _check(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait() != 0:
            raise TinyLMError(f"{' '.join(map(str, process.args))}: exit code {process.returncode}")  # type: ignore[arg-type]


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        TinyLMError: it fails; with the last line that it wrote to stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise TinyLMError(f"{' '.join(command[:2])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def run_and_measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, float]:
    """What a command prints to stderr, and the most memory that it had resident until shortly before its end, in bytes.

    Raises:
        TinyLMError: it fails; with the last line that it wrote to stderr.
    """
    peak = 0.0
    with (
        tempfile.TemporaryFile("w+") as printed,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=printed, env=environment) as process,
    ):
        # What the system counts of a child that has ended begins with the memory of its parent
        while process.poll() is None:
            with suppress(OSError, ValueError, StopIteration):
                peak = max(peak, memory_mb("VmHWM", process.pid))
            time.sleep(_BETWEEN)
        printed.seek(0)
        lines = printed.read()
    if process.returncode:
        raise TinyLMError(f"{' '.join(command[:2])}: {(lines.strip().splitlines() or ['no message'])[-1]}")
    return lines, peak * MIB


def python(code: str) -> list[str]:
    """The command that runs a line of Python in this environment."""
    return [sys.executable, "-c", code]


def alternate(first: Callable[[], float], second: Callable[[], float], repeats: int) -> tuple[list[float], list[float]]:
    """Measure two things side by side, now one first and then the other, once more than is kept."""
    pairs = []
    for number in range(repeats + 1):
        if number % 2:
            one, two = first(), second()
        else:
            two, one = second(), first()
        pairs.append((one, two))
    return [one for one, _ in pairs[1:]], [two for _, two in pairs[1:]]


class Terminal:
    """A program that someone talks to.

    Args:
        command: the program.
        place: where it runs.
    """

    def __init__(self, command: Sequence[str], place: Place) -> None:
        self._name = " ".join(command)
        self._screen, keyboard = pty.openpty()
        termios.tcsetwinsize(keyboard, (24, 80))
        self._process = subprocess.Popen(
            command,
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            start_new_session=True,
            env=place.environment,
            cwd=place.folder,
        )
        os.close(keyboard)

    def __enter__(self) -> Terminal:
        try:
            self.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def say(self, line: str) -> str:
        """Type a line, and get what is printed until the program waits for the next one."""
        os.write(self._screen, line.encode() + b"\n")
        return self.wait()

    def wait(self) -> str:
        """What is printed until the program waits for input.

        Raises:
            TinyLMError: it ends, or does not come to wait.
        """
        printed = b""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if select.select([self._screen], [], [], _SILENCE)[0]:
                try:
                    printed += os.read(self._screen, 1 << 16)
                except OSError:  # how Linux says that nobody is at the other end any more
                    raise TinyLMError(f"{self._name}: ended, saying {printed[-200:]!r}") from None
            elif printed and self._stat()[0] == "S":
                return printed.decode(errors="replace")
        raise TinyLMError(f"{self._name}: still at work after {_PATIENCE:.0f} s, saying {printed[-200:]!r}")

    def memory_mb(self, kind: str) -> float:
        """See `workers.memory_mb`."""
        return memory_mb(kind, self._process.pid)

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, user and system."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _stat(self) -> list[str]:
        """The fields of /proc/PID/stat after the name: state first; see proc(5)."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
