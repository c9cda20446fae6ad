"""A chat that a shell stops and continues: Ctrl-Z, `fg` and `bg`."""

import shlex
import shutil
import sys
import time

import pytest
from pty_terminal import ENTRY, Terminal, saved


@pytest.fixture
def shell(tmp_path):
    """An interactive bash, which can stop and continue what runs in it."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = "import os; os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])"
    terminal = Terminal(cwd=tmp_path, script=script, PS1="shell$ ", HISTFILE="")
    terminal.wait_for("shell$ ")
    yield terminal
    terminal.process.kill()
    terminal.process.wait()


def test_after_ctrl_z_and_fg_the_prompt_and_what_was_typed_are_there_again(shell, bundle, tmp_path):
    options = ["--session", "mine.jsonl", "--max-new-tokens", "2", "--logit-bias", "2=-100"]
    command = [sys.executable, "-c", ENTRY, "chat", str(bundle), *options]
    shell.type(shlex.join(command) + "\n")
    shell.wait_for("Ctrl-D to leave.")
    shell.wait_for("you ")
    for typed in ("Hello the", "Hello there, two"):
        shell.type(typed[len("Hello the") :] if typed.endswith("two") else typed)
        shell.wait_for(typed[-3:])
        time.sleep(0.5)
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for("shell$ ")
        shell.type("fg\n")
        assert "Traceback" not in shell.wait_for(f"you {typed}")
    # In the background it cannot read, and waits for `fg`
    time.sleep(0.5)
    shell.type("\x1a")
    shell.wait_for("shell$ ")
    shell.type("bg\n")
    time.sleep(0.5)
    shell.type("\n")
    shell.wait_for("shell$ ")
    shell.type("fg\n")
    shell.wait_for("you Hello there, two")
    # Editing goes on as before: Ctrl-A, and Ctrl-W takes back a word
    shell.type("\x17three\x01Oh, \n")
    shell.wait_for("max-new-tokens reached")
    shell.wait_for("you ")
    # And the prompt of a line that goes on in the next one
    shell.type("one \\\n")
    shell.wait_for("... ")
    time.sleep(0.5)
    shell.type("\x1a")
    shell.wait_for("shell$ ")
    shell.type("fg\n")
    shell.wait_for("... ")
    shell.type("two\n")
    shell.wait_for("max-new-tokens reached")
    shell.wait_for("you ")
    shell.type("/quit\n")
    shell.wait_for("shell$ ")
    said = [message["content"] for message in saved(tmp_path / "mine.jsonl")[0][::2]]
    assert said == ["Oh, Hello there, three", "one \ntwo"]


def test_a_reply_goes_on_after_ctrl_z_and_fg(shell, bundle, tmp_path):
    script = (
        "import time\nfrom tinylm.runtime import session\nrun = session.Session.append\n"
        "def slow(self, *arguments):\n time.sleep(0.05)\n return run(self, *arguments)\n"
        f"session.Session.append = slow\n{ENTRY}"
    )
    (tmp_path / "slow.py").write_text(script)
    command = [sys.executable, "slow.py", "chat", str(bundle), "--logit-bias", "2=-100", "--max-new-tokens", "30"]
    shell.type(shlex.join(command) + "\n")
    shell.wait_for("you ")
    shell.type("Hello\n")
    shell.wait_for("tiny ")
    time.sleep(0.3)
    shell.type("\x1a")
    shell.wait_for("shell$ ")
    shell.type("fg\n")
    shell.wait_for("max-new-tokens reached")
    shell.wait_for("you ")
    shell.type("/quit\n")
    assert "Traceback" not in shell.wait_for("shell$ ")
