"""A chat at the terminal: reads, replies, and obeys what begins with a slash."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tinylm.cli.terminal.line_input import LineInput
from tinylm.cli.terminal.results import stats_line
from tinylm.cli.terminal.screen import Screen
from tinylm.errors import ContextFullError, TinyLMError

if TYPE_CHECKING:
    from tinylm.runtime import Chat, Result
    from tinylm.runtime.saved_chats import SavedChat


_ONCE_MORE = "Ctrl-C once more or Ctrl-D leaves."


class Leave(Exception):  # noqa: N818 - a wish, not an error
    """The person leaves."""


class Conversation:
    """A chat with its terminal.

    Args:
        chat: the conversation.
        saved: where every turn is saved; None to save on request alone.
        show_stats: whether each reply is followed by its figures.

    Attributes:
        chat: as given.
        saved: as given, or where the person had it saved to or loaded from.
        show_stats: as given.
        screen: the terminal.
    """

    def __init__(self, chat: Chat, saved: SavedChat | None = None, show_stats: bool = False) -> None:
        self.chat, self.saved, self.show_stats = chat, saved, show_stats
        self.screen = Screen()
        self._autosave = saved is not None

    def run(self, name: str) -> None:
        """Chat until the person leaves.

        Args:
            name: of the model, for the greeting.

        Raises:
            ContextFullError: the context is full, and that is to be an error.
        """
        from tinylm.cli.terminal.slash import COMMANDS

        screen = self.screen
        lines = LineInput(screen.prompt("you", "bold cyan"), screen.prompt("...", "cyan"), sorted(COMMANDS))
        screen.say(f"Chatting with {name}. /help for help, Ctrl-D to leave.")
        interrupted = False
        self.chat.prepare()
        with _exit_on_signals():
            while True:
                try:
                    interrupted = self._turn(lines.read())
                except Leave:
                    return
                except EOFError:
                    screen.end_line()
                    return
                except KeyboardInterrupt:
                    screen.end_line()
                    if interrupted:
                        return
                    interrupted = True
                    screen.say(_ONCE_MORE, "dim")

    def _turn(self, text: str) -> bool:
        """Answer what was typed.

        Returns:
            whether Ctrl-C stopped the reply.
        """
        from tinylm.cli.terminal.slash import run_command

        try:
            if text.startswith("/") and not text.startswith("//"):
                return run_command(self, text)
            # A message may begin with a slash all the same, if it is typed twice
            text = text.removeprefix("/")
            if self.chat.when_full == "stop" and text and not self.chat.has_room_for(text):
                self.chat.send(text)  # says so where it does not fit by itself
                self._refuse()
                return False
            return bool(text) and self.reply(lambda should_stop: self.chat.send(text, should_stop))
        except ContextFullError as error:
            if self.chat.when_full == "error":
                raise
            self.screen.notice(str(error))
        except TinyLMError as error:
            self.screen.notice(str(error))
        return False

    def reply(self, send: Callable[[Callable[[], bool]], Generator[str, None, None]]) -> bool:
        """Show a reply as it comes; Ctrl-C stops it, and twice leaves, both once the turn is saved.

        Args:
            send: begins it; gets what tells whether it is to stop.

        Returns:
            whether Ctrl-C was pressed.

        Raises:
            Leave: twice.
        """
        dropped = self.chat.dropped_messages
        with _interrupts() as interrupts:
            pieces = send(lambda: bool(interrupts))
            try:
                self.screen.show_reply(pieces)
            finally:
                pieces.close()
                self.save_turn()
                self.screen.end_line()
            result = self.chat.last_result
            assert result is not None
            self._explain(result, dropped)
            if len(interrupts) < 2:
                self.chat.prepare()
        if len(interrupts) > 1:
            raise Leave
        if interrupts and result.finish_reason != "cancelled":
            self.screen.say(_ONCE_MORE, "dim")
        return bool(interrupts)

    def start_anew(self) -> None:
        """Forget the conversation; what was saved of it stays, and the next is saved beside it."""
        from tinylm.runtime.saved_chats import SavedChat

        self.chat.clear()
        self.saved = None if self.saved is None else SavedChat(self.saved.path, self.screen.notice)

    def _explain(self, result: Result, dropped: int) -> None:
        """Say what a reply alone does not show."""
        chat, screen = self.chat, self.screen
        if result.finish_reason == "cancelled":
            screen.aside("stopped")
        elif result.finish_reason == "length":
            screen.aside("cut: max-new-tokens reached")
        elif result.finish_reason == "context":
            screen.aside("cut: the context is full")
        if chat.dropped_messages > dropped:
            screen.notice(
                f"the context is full: the {chat.dropped_messages} oldest messages are no longer seen by the model"
            )
        if self.show_stats:
            screen.aside(stats_line(chat, result))

    def _refuse(self) -> None:
        """Say that a message is not sent, and what to do."""
        self.screen.notice(
            f"the context of {self.chat.context_length:,} tokens is full, so the message was not sent. "
            "/undo, /clear or `/set when-full drop` goes on; /save keeps the conversation"
        )

    def save_turn(self) -> None:
        """Save the conversation where every turn is to be saved; what keeps it from being saved is shown."""
        if self._autosave and self.saved is not None:
            try:
                self.saved.save(self.chat.messages)
            except TinyLMError as error:
                self.screen.notice(f"not saved: {error}")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that every Ctrl-C puts something into, so that nothing is torn in the middle."""
    seen: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        seen.append(number)

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        with _without_echo_of_controls():
            yield seen
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _without_echo_of_controls() -> Iterator[None]:
    """Keep the terminal from writing ^C into a reply."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = before.copy()
    quiet[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let a lost connection or a `kill` end the chat the orderly way, so that the turn is saved."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
