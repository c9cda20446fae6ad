"""Read what the user types: line editing, history, several lines, completion of commands."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from tinylm.printable import printable


class LineInput:
    """A prompt with readline's editing and history, where Python has readline.

    A line that ends in a backslash continues on the next one. Alt-Enter inserts a line break, and a pasted text of
    several lines stays one text.

    Args:
        ask: the prompt, with ANSI colours.
        ask_more: the prompt of a continued line.
        commands: what Tab completes at the beginning of a line.
    """

    def __init__(self, ask: str, ask_more: str, commands: Sequence[str]) -> None:
        self._commands = commands
        self._readline: Any = None
        with contextlib.suppress(ImportError):
            import readline

            self._readline = readline
            self._set_up()
            # Mark colours as invisible, or readline counts their characters and wraps long lines too early
            ask, ask_more = (re.sub("(\033[^m]*m)", "\001\\1\002", prompt) for prompt in (ask, ask_more))
        self._ask, self._ask_more = ask, ask_more

    def read(self) -> str:
        """Read one text of one or more lines.

        Raises:
            EOFError: the input has ended.
            KeyboardInterrupt: Ctrl-C; what was typed is dropped.
            UnicodeDecodeError: what was typed is not in the terminal's encoding.
        """
        lines = [self._read_line(self._ask)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._read_line(self._ask_more))
        return printable("\n".join(lines)).strip()

    def _read_line(self, prompt: str) -> str:
        """Read one line; after Ctrl-Z and `fg` show the prompt and what was typed again."""
        while True:
            try:
                with _raise_when_resumed():
                    return input(prompt)
            except _ResumedError:
                # The shell has changed the terminal's modes and written below the prompt: begin again
                self._type_again()

    def _type_again(self) -> None:
        """Put what was typed so far into the next line that is read."""
        if self._readline is None:
            return
        typed = self._readline.get_line_buffer()

        def insert() -> None:
            self._readline.set_pre_input_hook(None)
            self._readline.insert_text(typed)
            self._readline.redisplay()

        self._readline.set_pre_input_hook(insert)

    def _set_up(self) -> None:
        readline = self._readline
        readline.set_completer(self._complete)
        readline.set_completer_delims(" ")
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind("bind ^I rl_complete")
        else:
            readline.parse_and_bind("tab: complete")
            readline.parse_and_bind(r'"\e\C-m": "\C-v\C-j"')

    def _complete(self, text: str, state: int) -> str | None:
        at_start = text.startswith("/") and self._readline.get_begidx() == 0
        fitting = [command for command in self._commands if at_start and command.startswith(text)]
        return fitting[state] if state < len(fitting) else None


class _ResumedError(Exception):
    """The process was stopped and continued."""


@contextlib.contextmanager
def _raise_when_resumed() -> Iterator[None]:
    """Raise `_ResumedError` when the process continues after a stop, where the system has such signals."""
    if not hasattr(signal, "SIGCONT"):
        yield
        return

    def resume(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        # Once only: after `bg` the terminal's modes cannot be reset before `fg`, whose signal finds an error pending
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        raise _ResumedError

    previous = signal.signal(signal.SIGCONT, resume)
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, previous)
