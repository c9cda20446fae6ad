"""Reading what a person types: editing, history, several lines, completion of commands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

from tinylm.printable import printable


class LineInput:
    """A prompt with the editing that readline gives, where Python has it.

    A line that ends in a backslash goes on in the next one; Alt-Enter begins a new line within the text, and a pasted
    text stays one.

    Args:
        ask: the prompt, ANSI colours included.
        ask_more: the prompt of a further line.
        commands: what Tab completes at the beginning of a line.
    """

    def __init__(self, ask: str, ask_more: str, commands: Sequence[str]) -> None:
        self._commands = commands
        self._readline: Any = None
        with contextlib.suppress(ImportError):
            import readline

            self._readline = readline
            self._set_up()
            # Marked as invisible, or readline counts the colours' characters and wraps long lines too early
            ask, ask_more = (re.sub("(\033[^m]*m)", "\001\\1\002", prompt) for prompt in (ask, ask_more))
        self._ask, self._ask_more = ask, ask_more

    def read(self) -> str:
        """One text of one or more lines.

        Raises:
            EOFError: there is no more.
            KeyboardInterrupt: Ctrl-C; what was typed is dropped.
            UnicodeDecodeError: what was typed is not in the terminal's encoding.
        """
        lines = [input(self._ask)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(input(self._ask_more))
        return printable("\n".join(lines)).strip()

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
