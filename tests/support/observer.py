"""What a program does to files and to the network, by its system calls: strace must be installed.

`connect` fails for whoever is observed, so that nothing leaves the machine even where a program tries.
"""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# A question mark: not every processor's Linux has all of them
_CHANGES = (
    "open openat openat2 creat mkdir mkdirat mknod mknodat rename renameat renameat2 link linkat symlink symlinkat "
    "unlink unlinkat rmdir truncate chmod fchmodat chown fchownat"
)
_OPTIONS = (
    *("-DDD", "-f", "-ff", "--seccomp-bpf", "-q", "-y", "-s", "4096", "-e", "signal=none"),
    *("-e", "inject=connect:error=ENETUNREACH"),
    *("-e", "trace=%network," + ",".join(f"?{name}" for name in _CHANGES.split())),
)
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?)(.*)")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_LOCAL = re.compile(r'sa_family=AF_INET, .*inet_addr\("127\.0\.0\.1"\)')
_NAME_SERVICE = 'sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"'
# Terminals, and what swallows everything
_DEVICES = re.compile(r"/dev/(null|tty|ptmx|pts/\d+)")


@dataclass
class Observation:
    """What was seen.

    Attributes:
        files: paths that the program created, changed, deleted or opened for writing, or tried to.
        network: system calls that reached for the network, the server's own socket on this machine left out.
    """

    files: set[Path]
    network: list[str]

    def files_outside(self, *folders):
        """Changed files that are in none of these folders; making a folder's parents is no change."""
        allowed = [folder.resolve() for folder in folders]
        parents = {parent for folder in allowed for parent in (folder, *folder.parents)}
        return sorted(
            path for path in self.files - parents if not any(path.is_relative_to(folder) for folder in allowed)
        )


class Observed(subprocess.Popen):
    """A program under strace, with the options of `subprocess.Popen`; it leads a session of its own."""

    def __init__(self, command, traces, **options):
        traces.mkdir()
        self.traces, self.cwd = traces, Path(options.get("cwd") or Path.cwd())
        command = ["strace", *_OPTIONS, "-o", traces / "calls", *map(str, command)]
        super().__init__(command, start_new_session=True, **options)

    def stop(self):
        """Kill it with its subprocesses, if it still runs, and let its output go."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        if self.stdout is not None:
            self.stdout.close()

    def observation(self):
        """What it did, its subprocesses included, once all of them have ended."""
        files, network = set(), []
        for lines in self._threads():
            calls = [match.groups() for match in map(_CALL.match, lines) if match]
            files |= {self.cwd / path for call in calls for path in _changed(*call)}
            network += _network(calls)
        return Observation({Path(os.path.normpath(path)) for path in files}, network)

    def _threads(self, seconds=30):
        """The lines of each thread, whose last is its end."""
        deadline = time.monotonic() + seconds
        while True:
            threads = [trace.read_text("utf-8").splitlines() for trace in sorted(self.traces.iterdir())]
            running = [lines[-1:] for lines in threads if not lines or not lines[-1].startswith("+++ ")]
            if threads and not running:
                return threads
            assert time.monotonic() < deadline, f"strace does not see the end: {running}"
            time.sleep(0.1)


def _changed(name, arguments, result, why):
    """Paths that a call changes, or would have changed."""
    if name.startswith(("open", "creat")):
        if name != "creat" and not re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", arguments):
            return
    elif name not in _CHANGES.split() or (result == "-1" and "EEXIST" in why):
        return
    for folder, text in _PATH.findall(arguments):
        path = Path(folder) / text.encode("ascii", "backslashreplace").decode("unicode_escape")
        if not _DEVICES.fullmatch(str(path)):
            yield path


def _network(calls):
    """Calls that look for, or reach, anything but a server's own socket on this machine.

    The C library asks the name service's daemon on this machine for users, whom it looks up in files without it.
    """
    opened = {}
    for name, arguments, result, _ in calls:
        line = f"{name}({arguments}) = {result}"
        descriptor = arguments.split("<")[0]
        if name == "socket":
            if result in opened:
                yield opened[result]
            opened[result] = line
        elif (name == "bind" and _LOCAL.search(arguments)) or (name == "connect" and _NAME_SERVICE in arguments):
            opened.pop(descriptor, None)
        elif name in {"connect", "bind"} or (name.startswith("send") and "sa_family" in arguments):
            yield line
    yield from opened.values()
