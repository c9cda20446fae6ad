"""`tinylm` in a pseudo-terminal, as a person types."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

# As `tinylm` does it, but wherever the script of the environment may lie
ENTRY = "import sys; from tinylm.cli.main import main; sys.argv[0] = 'tinylm'; main()"


TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments, cwd=None, script=ENTRY, **variables):
        self.text = ""
        self.master, slave = pty.openpty()
        # Not pty.fork: a fork of a process with threads may hang before it becomes the command
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{TAKE_TERMINAL}\n{script}", *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "dumb", "INPUTRC": "/dev/null", **variables},
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)

    def wait_for(self, text, seconds=60):
        """Everything up to `text`, wherever its lines are wrapped."""
        deadline = time.monotonic() + seconds
        pattern = re.compile(r"\s+".join(map(re.escape, text.split())) + r"\s" * text.endswith(" "))
        while not (found := pattern.search(self.text)):
            assert time.monotonic() < deadline, f"no {text!r} in {self.text!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    data = b""
                assert data, f"ended without {text!r}: {self.text!r}"
                self.text += data.decode("utf-8", "replace")
        before, self.text = self.text[: found.start()], self.text[found.end() :]
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def signal(self, number=signal.SIGINT):
        """Send a signal at the prompt: once Python waits there, or it would notice it at the next key only."""
        time.sleep(0.5)
        if number == signal.SIGINT:
            self.type("\x03")
        else:
            self.process.send_signal(number)

    def end_input(self):
        """Press Ctrl-D at the prompt, once Python reads keys there."""
        time.sleep(0.5)
        self.type("\x04")

    def ends_with(self, seconds=60):
        """The exit code, once the command has left."""
        deadline = time.monotonic() + seconds
        while True:
            assert time.monotonic() < deadline, f"goes on after {self.text!r}"
            if not select.select([self.master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.text += data.decode("utf-8", "replace")
        os.close(self.master)
        return self.process.wait(60)


def saved(path):
    return [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
