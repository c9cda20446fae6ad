"""Wrap streamed text at words, and remove control characters."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len

# Characters of scripts without spaces, after each of which a line may end
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\U00020000-\U0003fffd"
_PARTS = re.compile(rf"\n|[^\S\n]+|[{_WIDE}]|[^\s{_WIDE}]+")
# Text must not control the terminal
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd") | {0x09: "    ", 0x0A: "\n", 0x0D: None}


class WordWrap:
    """Wrap text while it is generated; a word is held back until its end is known.

    Args:
        width: returns the number of columns of the terminal.
        indent: spaces at the beginning of every line but the first.
        column: column in which the first line begins.
    """

    def __init__(self, width: Callable[[], int], indent: int = 0, column: int = 0) -> None:
        self._width, self._indent, self._column = width, indent, column
        self._held = ""

    def feed(self, text: str) -> str:
        """Take a piece; return the text that can be shown now."""
        parts: list[str] = _PARTS.findall(self._held + text.translate(_CONTROLS))
        self._held = ""
        last = parts[-1] if parts else " "
        if not last.isspace() and not re.match(f"[{_WIDE}]", last) and cell_len(last) < self._room:
            self._held = parts.pop()
        return "".join(map(self._place, parts))

    def finish(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return self._place(held) if held else ""

    @property
    def _room(self) -> int:
        # One column less: terminals differ in what they do after the last column
        return max(8, self._width() - self._indent - 1)

    def _place(self, part: str) -> str:
        limit = self._indent + self._room
        if part == "\n":
            return self._new_line()
        size = cell_len(part)
        if part.isspace():
            shown = part[: max(0, limit - self._column)]
            self._column += size
            return shown
        if self._column + size <= limit:
            self._column += size
            return part
        before = self._new_line() if self._column > self._indent else ""
        if size <= self._room:
            self._column += size
            return before + part
        return before + "".join(map(self._place_character, part))

    def _place_character(self, character: str) -> str:
        size = cell_len(character)
        before = self._new_line() if self._column + size > self._indent + self._room else ""
        self._column += size
        return before + character

    def _new_line(self) -> str:
        self._column = self._indent
        return "\n" + " " * self._indent
