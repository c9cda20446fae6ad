"""A chat at a terminal: what it shows, what it obeys, how it is stopped."""

import os
import re
import signal
import time

import pytest
from pty_terminal import ENTRY, Terminal, saved


def test_an_interactive_chat(bundle):
    terminal = Terminal("chat", bundle, "--temperature", "0", "--max-new-tokens", "6")
    terminal.wait_for("/help for help")
    terminal.wait_for("you")
    terminal.type("/stats\n")
    terminal.wait_for("No reply yet.")
    terminal.type("Hello there\n")
    terminal.wait_for("tiny")
    reply = terminal.wait_for("you")
    assert len(reply.strip()) > 2
    assert "max-new-tokens reached" in reply
    terminal.type("/stats\n")
    assert "6 tokens at" in terminal.wait_for("/96")
    terminal.type("/help\n")
    terminal.wait_for("Ctrl-C stops a reply; twice, or Ctrl-D, leaves.")
    terminal.type("/nonsense\n")
    terminal.wait_for("no command /nonsense")
    terminal.type("\n")
    terminal.type("word " * 200 + "\n")
    terminal.wait_for("shorten it")
    terminal.type("/clear\n")
    terminal.wait_for("forgotten")
    terminal.type("/stats\n")
    terminal.wait_for("No reply yet.")
    terminal.type("/quit\n")
    assert terminal.ends_with() == 0
    assert "Traceback" not in terminal.text


def test_ctrl_d_leaves_and_ctrl_c_does_not(bundle):
    terminal = Terminal("chat", bundle)
    terminal.wait_for("you")
    terminal.type("half a line")
    terminal.wait_for("half a line")
    terminal.signal()
    terminal.wait_for("you")
    terminal.end_input()
    assert terminal.ends_with() == 0
    assert "Traceback" not in terminal.text


@pytest.fixture
def chat(bundle, tmp_path):
    """Begins a chat in a folder of its own; what still runs at the end is ended."""
    begun = []

    def begin(*arguments, **variables):
        terminal = Terminal("chat", bundle, "--temperature", "0", *arguments, cwd=tmp_path, **variables)
        begun.append(terminal)
        terminal.wait_for("you ")
        return terminal

    yield begin
    for terminal in begun:
        terminal.process.kill()
        terminal.process.wait()


# A reply without end: <eos> is id 2
ENDLESS = ("--max-new-tokens", "100000", "--logit-bias", "2=-100", "--when-full", "drop")


def test_ctrl_c_twice_leaves(chat):
    terminal = chat()
    terminal.signal()
    terminal.wait_for("Ctrl-C once more or Ctrl-D leaves.")
    terminal.wait_for("you ")
    terminal.signal()
    assert terminal.ends_with() == 0
    assert "Traceback" not in terminal.text


def test_a_message_between_two_ctrl_c_keeps_the_chat_open(chat):
    terminal = chat("--max-new-tokens", "3")
    for _ in range(2):
        terminal.signal()
        terminal.wait_for("once more")
        terminal.wait_for("you ")
        terminal.type("Hello\n")
        terminal.wait_for("tiny")
        terminal.wait_for("you ")
    terminal.type("/quit\n")
    assert terminal.ends_with() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_saves_what_was_said(chat, tmp_path, number):
    terminal = chat("--session", "mine.jsonl", "--max-new-tokens", "3")
    terminal.type("Hello\n")
    terminal.wait_for("max-new-tokens reached")
    terminal.wait_for("you ")
    terminal.signal(number)
    assert terminal.ends_with() == 128 + number
    assert [message["role"] for message in saved(tmp_path / "mine.jsonl")[0]] == ["user", "assistant"]
    assert "Traceback" not in terminal.text


def test_a_session_goes_on_where_it_was_left(chat, tmp_path):
    terminal = chat("--session", "mine.jsonl", "--system", "Be kind.", "--max-new-tokens", "3")
    terminal.type("Hello\n")
    terminal.wait_for("max-new-tokens reached")
    terminal.type("/quit\n")
    assert terminal.ends_with() == 0
    first = saved(tmp_path / "mine.jsonl")
    assert [message["role"] for message in first[0]] == ["system", "user", "assistant"]
    terminal = chat("--session", "mine.jsonl", "--max-new-tokens", "3")
    terminal.type("/system\n")
    terminal.wait_for("System message: Be kind.")
    terminal.type("And now?\n")
    terminal.wait_for("max-new-tokens reached")
    terminal.type("/clear\n")
    terminal.wait_for("forgotten")
    terminal.type("Someone else\n")
    terminal.wait_for("max-new-tokens reached")
    terminal.wait_for("you ")
    terminal.type("/undo\n")
    terminal.wait_for("Taken back: Someone else")
    terminal.end_input()
    assert terminal.ends_with() == 0
    assert [[message["role"] for message in chat] for chat in saved(tmp_path / "mine.jsonl")] == [
        ["system", *["user", "assistant"] * 2]
    ]


def test_what_is_saved_is_loaded_again(chat, tmp_path):
    terminal = chat("--max-new-tokens", "3")
    for command, answer in (
        ("/save", "nothing to save yet"),
        ("/undo", "nothing to take back"),
        ("/retry", "no message to reply to"),
        ("Hello there", "max-new-tokens reached"),
        ("/retry", "max-new-tokens reached"),
        ("/save", "tinylm train --finetune chats.jsonl"),
        ("/save other.jsonl", "tinylm train --finetune other.jsonl"),
        ("/clear", "forgotten"),
        ("/load", "Loaded 2 messages from chats.jsonl"),
        ("/load chats.jsonl 1", "Loaded 2 messages"),
        ("/load chats.jsonl 7", "holds 1 conversations"),
        ("/load nowhere.jsonl", "no such file"),
        ("/undo", "Taken back: Hello there"),
    ):
        terminal.type(command + "\n")
        terminal.wait_for(answer)
    assert len(saved(tmp_path / "chats.jsonl")) == 1


def test_a_corrupted_session_is_refused_and_the_conversation_goes_on(chat, tmp_path, run_cli, bundle):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"messages": [{"role": "us')
    terminal = chat("--max-new-tokens", "3", COLUMNS="200")
    terminal.type("Hello\n")
    terminal.wait_for("max-new-tokens reached")
    for command in ("/load broken.jsonl", "/save broken.jsonl"):
        terminal.type(command + "\n")
        terminal.wait_for("broken.jsonl:1: not a conversation")
    terminal.type("/undo\n")
    terminal.wait_for("Taken back: Hello")
    result = run_cli("chat", bundle, "--session", broken, "--prompt", "Hi")
    assert result.exit_code == 1
    assert "broken.jsonl:1" in result.stderr
    assert broken.read_text() == '{"messages": [{"role": "us'


def test_settings_are_shown_changed_and_refused(chat):
    terminal = chat("--max-new-tokens", "3", "--stop", "zz")
    terminal.type("/set\n")
    shown = terminal.wait_for("when-full")
    assert re.search(r"max-new-tokens +3", shown)
    assert "'zz'" in shown
    for command, answer in (
        ("/set temperature 0.5", "temperature is 0.5"),
        ("/set max-new-tokens 2", "max-new-tokens is 2"),
        ("/set seed", "seed is off"),
        ("/set stop '. ' \"it's\"", "stop is"),
        ("/set when-full stop", "when-full is stop"),
        ("/set top-p 7", "top-p must be between 0 and 1, not 7"),
        ("/set top-k many", "top-k cannot be many"),
        ("/set colour red", "no colour to set"),
        ("/set stop 'open", "stop cannot be"),
        ("/set when-full never", "when-full must be one of"),
        ("/stats on", "Figures after each reply: on."),
        ("/stats perhaps", "/stats takes on, off or nothing"),
        ("/help me", "/help takes nothing after it"),
        ("Hello", "2 tokens at"),
    ):
        terminal.type(command + "\n")
        terminal.wait_for(answer)


def test_lines_that_go_on_are_one_message(chat, tmp_path):
    terminal = chat("--session", "mine.jsonl", "--max-new-tokens", "2")
    terminal.type("one \\\n")
    terminal.wait_for("...")
    terminal.type("two\n")
    terminal.wait_for("max-new-tokens")
    terminal.wait_for("you ")
    # Alt-Enter
    terminal.type("three\x1b\rfour\n")
    terminal.wait_for("max-new-tokens")
    terminal.type("//etc\n")
    terminal.wait_for("max-new-tokens")
    texts = [message["content"] for message in saved(tmp_path / "mine.jsonl")[0][::2]]
    assert texts == ["one \ntwo", "three\nfour", "/etc"]


def test_history_and_completion(chat):
    terminal = chat("--max-new-tokens", "2")
    terminal.type("Hello number one\n")
    terminal.wait_for("max-new-tokens")
    terminal.wait_for("you ")
    terminal.type("\x1b[A")
    terminal.wait_for("Hello number one")
    terminal.type("\x15/sta\t\n")
    terminal.wait_for("2 tokens at")


def test_a_context_that_fills_up_is_seen(chat):
    terminal = chat("--max-new-tokens", "20", COLUMNS="200")
    for number in range(9):
        terminal.type(f"Message {number} of a long conversation\n")
    terminal.wait_for("oldest messages are no longer seen by the model")


def test_a_context_that_is_full_can_stop_the_conversation(chat):
    terminal = chat("--max-new-tokens", "20", "--when-full", "stop", COLUMNS="200")
    for number in range(9):
        terminal.type(f"Message {number} of a long conversation\n")
    terminal.wait_for("so the message was not sent")
    terminal.type("/clear\n")
    terminal.type("word " * 200 + "\n")
    terminal.wait_for("shorten it")


def test_a_context_that_is_full_can_be_an_error(chat, tmp_path):
    terminal = chat("--max-new-tokens", "20", "--when-full", "error", "--session", "mine.jsonl", COLUMNS="200")
    for number in range(9):
        terminal.type(f"Message {number} of a long conversation\n")
    terminal.wait_for("Error: the context is full")
    assert terminal.ends_with() == 1
    assert len(saved(tmp_path / "mine.jsonl")[0]) % 2 == 0


def test_bytes_that_are_no_text_harm_nothing(chat, tmp_path):
    terminal = chat("--max-new-tokens", "2", "--session", "mine.jsonl", LC_ALL="C.UTF-8")
    os.write(terminal.master, b"caf\xe9\n")
    terminal.wait_for("you ")
    terminal.type("Hello\n")
    terminal.wait_for("max-new-tokens")
    terminal.wait_for("you ")
    assert saved(tmp_path / "mine.jsonl")[0][-2]["content"] == "Hello"
    terminal.type("/quit\n")
    assert terminal.ends_with() == 0


@pytest.mark.parametrize("variables", [{"TERM": "xterm-256color"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}])
def test_colours_only_where_they_are_wanted(chat, variables):
    terminal = chat("--max-new-tokens", "2", **variables)
    terminal.type("Hello\n")
    shown = terminal.wait_for("max-new-tokens reached")
    assert ("\x1b[1;32mtiny" in shown) == ("NO_COLOR" not in variables)


def test_a_reply_is_stopped_by_ctrl_c_and_stays_as_far_as_it_came(bundles, tmp_path):
    """On a model whose reply takes long enough: the largest context, refilled without end."""
    script = (
        "import time\nfrom tinylm.runtime import session\nrun = session.Session.append\n"
        "def slow(self, *arguments):\n time.sleep(0.05)\n return run(self, *arguments)\n"
        f"session.Session.append = slow\n{ENTRY}"
    )
    terminal = Terminal(
        "chat", bundles["classic", "int8"], *ENDLESS, "--session", "mine.jsonl", cwd=tmp_path, script=script
    )
    terminal.wait_for("you ")
    terminal.type("Hello\n")
    terminal.wait_for("tiny ")
    time.sleep(0.5)
    terminal.type("\x03")
    reply = terminal.wait_for("(stopped)")
    terminal.wait_for("you ")
    assert "^C" not in reply
    said = saved(tmp_path / "mine.jsonl")[0][-1]["content"]
    # The key itself may be in it, which no terminal shows
    assert said.split() == reply.replace("\x03", "").split()
    # And twice leaves, in the middle of a reply too
    terminal.type("Hello\n")
    terminal.wait_for("tiny ")
    time.sleep(0.2)
    terminal.type("\x03")
    time.sleep(0.01)  # or the two may arrive as one
    terminal.type("\x03")
    assert terminal.ends_with() == 0
    assert len(saved(tmp_path / "mine.jsonl")[0]) == 4
    assert "Traceback" not in terminal.text
