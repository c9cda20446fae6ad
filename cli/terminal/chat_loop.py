"""The loop of an interactive chat: read a line, run a command or reply."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tinylm.cli.terminal.conversation import QuitChat, TerminalChat
from tinylm.cli.terminal.line_input import LineInput
from tinylm.cli.terminal.slash import COMMANDS, run_command
from tinylm.errors import ContextFullError, TinyLMError


def run_chat(conversation: TerminalChat, name: str) -> None:
    """Chat until the user quits.

    Args:
        conversation: the chat.
        name: the model's name, for the greeting.

    Raises:
        ContextFullError: the context is full, and `when_full` is "error".
    """
    screen = conversation.screen
    lines = LineInput(screen.prompt("you", "bold cyan"), screen.prompt("...", "cyan"), sorted(COMMANDS))
    screen.say(f"Chatting with {name}. /help for help, Ctrl-D to leave.")
    conversation.note_dropped()
    interrupted = False
    conversation.chat.prepare()
    with _exit_on_signals():
        while True:
            try:
                interrupted = _answer(conversation, lines.read())
            except QuitChat:
                return
            except EOFError:
                screen.end_line()
                return
            except KeyboardInterrupt:
                screen.end_line()
                if interrupted:
                    return
                interrupted = True
                conversation.say_how_to_leave()


def _answer(conversation: TerminalChat, text: str) -> bool:
    """Run a command or reply to a message.

    Returns:
        whether Ctrl-C stopped the reply.
    """
    chat, screen = conversation.chat, conversation.screen
    try:
        if text.startswith("/") and not text.startswith("//"):
            return run_command(conversation, text)
        # A doubled slash begins a message with a slash
        text = text.removeprefix("/")
        if chat.when_full == "stop" and text and not chat.has_room_for(text):
            chat.send(text)  # raises where the message alone is too long
            conversation.say_not_sent()
            return False
        return bool(text) and conversation.reply(lambda should_stop: chat.send(text, should_stop))
    except ContextFullError as error:
        if chat.when_full == "error":
            raise
        screen.notice(str(error))
    except TinyLMError as error:
        screen.notice(str(error))
    return False


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP (a lost connection) into SystemExit, so that the turn is saved."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
