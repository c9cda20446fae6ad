"""Show a chat: the conversation on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tinylm.cli.terminal.word_wrap import WordWrap

LABEL_WIDTH = 5


class Screen:
    """The terminal. rich leaves colours out where they cannot be shown or are not wanted."""

    def __init__(self) -> None:
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)

    def prompt(self, label: str, style: str) -> str:
        """The prompt of the user's lines, for `input`; empty where stdout is no terminal."""
        if not self._out.is_terminal:
            return ""
        with self._out.capture() as captured:
            self._out.print(Text(label.ljust(LABEL_WIDTH), style), end="")
        return captured.get()

    def show_reply(self, pieces: Iterable[str]) -> None:
        """Show a reply while it is generated, wrapped at words; unchanged where stdout is no terminal."""
        if not self._out.is_terminal:
            for piece in pieces:
                self._write(piece)
            return
        self._out.print(Text("tiny".ljust(LABEL_WIDTH), "bold green"), end="")
        wrap = WordWrap(lambda: self._out.width, indent=LABEL_WIDTH, column=LABEL_WIDTH)
        try:
            for piece in pieces:
                self._write(wrap.feed(piece))
        finally:
            self._write(wrap.finish())

    def end_line(self) -> None:
        """End the line of the conversation."""
        self._write("\n")

    def say(self, message: str, style: str = "") -> None:
        """Show a message about the conversation."""
        self._err.print(Text(message, style))

    def aside(self, message: str) -> None:
        """Show a message about the reply above it."""
        self._err.print(Padding(Text(f"({message})", "dim"), (0, 0, 0, LABEL_WIDTH)))

    def notice(self, message: str) -> None:
        """Show a message that is marked as a note."""
        self._err.print(Text.assemble(("Note:", "bold yellow"), " ", message))

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Show a table of names and their meanings."""
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, meaning in rows:
            table.add_row(Text(name), Text(meaning))
        self._err.print(table)

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
