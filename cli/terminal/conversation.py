"""A chat with its screen: show replies, stop them, save them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tinylm.cli.terminal.results import cut_note, dropped_note, stats_line
from tinylm.cli.terminal.screen import Screen
from tinylm.errors import TinyLMError

if TYPE_CHECKING:
    from tinylm.runtime import Chat
    from tinylm.runtime.saved_chats import SavedChat


class QuitChat(Exception):  # noqa: N818 - like SystemExit, not an error
    """Raised to leave the chat."""


class TerminalChat:
    """A chat with its screen.

    Args:
        chat: the conversation.
        saved: the file to save every turn to; None: save on request only.
        show_stats: whether to show figures after each reply.

    Attributes:
        chat: as given.
        saved: as given, or the file that the user saved to or loaded from last.
        show_stats: as given.
        screen: where it is shown.
    """

    def __init__(self, chat: Chat, saved: SavedChat | None = None, show_stats: bool = False) -> None:
        self.chat, self.saved, self.show_stats = chat, saved, show_stats
        self.screen = Screen()
        self._autosave = saved is not None

    def reply(self, send: Callable[[Callable[[], bool]], Generator[str, None, None]]) -> bool:
        """Show a reply while it is generated, and save the turn. Ctrl-C stops the reply; twice, it leaves the chat.

        Args:
            send: begins the reply, given a function that says whether to stop.

        Returns:
            whether Ctrl-C was pressed.

        Raises:
            QuitChat: Ctrl-C was pressed twice.
        """
        dropped = self.chat.dropped_messages
        with _interrupts() as interrupts:
            pieces = send(lambda: bool(interrupts))
            try:
                self.screen.show_reply(pieces)
            finally:
                pieces.close()
                try:
                    self.screen.end_line()
                finally:
                    self.save_turn()
            result = self.chat.last_result
            assert result is not None
            cut = cut_note(result)
            if cut:
                self.screen.aside(cut)
            self.note_dropped(dropped)
            if self.show_stats:
                self.screen.aside(stats_line(self.chat, result))
            if len(interrupts) < 2:
                self.chat.prepare()
        if len(interrupts) > 1:
            raise QuitChat
        if interrupts and result.finish_reason != "cancelled":
            self.say_how_to_leave()
        return bool(interrupts)

    def start_anew(self) -> None:
        """Clear the conversation. What was saved of it stays in the file; the next is saved as another."""
        from tinylm.runtime.saved_chats import SavedChat

        self.chat.clear()
        self.saved = None if self.saved is None else SavedChat(self.saved.path, self.screen.notice)

    def save_turn(self) -> None:
        """Save the conversation if every turn is to be saved; show why where that fails."""
        if self._autosave and self.saved is not None:
            try:
                self.saved.save(self.chat.messages)
            except TinyLMError as error:
                self.screen.notice(f"not saved: {error}")

    def note_dropped(self, before: int = 0) -> None:
        """Say so if the chat has dropped more messages than `before`."""
        if self.chat.dropped_messages > before:
            self.screen.notice(dropped_note(self.chat))

    def say_how_to_leave(self) -> None:
        """Say what a second Ctrl-C does."""
        self.screen.say("Ctrl-C once more or Ctrl-D leaves.", "dim")

    def say_not_sent(self) -> None:
        """Say that the context is full, so that a message was not sent, and what to do."""
        self.screen.notice(
            f"the context of {self.chat.context_length:,} tokens is full, so the message was not sent. "
            "Continue with /undo, /clear or `/set when-full drop`; /save keeps the conversation"
        )


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list instead of raising KeyboardInterrupt."""
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
