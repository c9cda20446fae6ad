"""JSON values over several lines, or of any size on one: one after the other, without holding more than one.

The values are looked for in a part of the text, which is made longer where one does not end in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from os import PathLike
from typing import NoReturn

from tinylm.data.readers.lines import Place
from tinylm.data.readers.record_keys import is_bare_message, is_conversation, is_record
from tinylm.errors import DataError

DECODER = json.JSONDecoder()
LONGEST_STRING = 16_000_000
"""Characters of the longest text that is held; of a longer one, the rest is left out."""

_PART = 1_000_000
# An object that is longer than this is read member by member
_LONGEST_OBJECT = 32_000_000
_LONGEST_VALUE = 120_000_000
_SPACE = re.compile(r"[ \t\n]*")
_STRING_REST = re.compile(r'[^"\\\n]*(?:\\[^\n][^"\\\n]*)*')
# An error so near the end may be one of the end
_CUT_VALUE = 24
_LOOKED_AT = 5


class _TooLongError(Exception):
    """A value does not end soon enough."""


class JsonStream:
    """Reads the records of JSON text.

    Args:
        path: the file, for errors.
        line: the number of the line that the text begins with.
        text: the first of it.
        more: the rest, in pieces.
        cut: told how many characters of a text are left out.
    """

    def __init__(
        self, path: str | PathLike[str], line: int, text: str, more: Iterator[str], cut: Callable[[int], None]
    ) -> None:
        self._path = path
        self._line = line
        self._text = text
        self._more = more
        self._cut = cut
        self._position = 0
        self._ended = False
        self._pinned = False  # whether all of the text must stay at hand
        self._column = 0  # characters of the line that are no longer in the text

    def records(self) -> Iterator[tuple[Place, object]]:
        """The values, lists of records as their elements, each with its place.

        Raises:
            DataError: the text is not JSON, or a value is too long.
        """
        while self._next_character():
            if self._next_character() == "[":
                yield from self._list_records()
            else:
                yield from self._one_record()
            if self._next_character() == ",":
                self._move_to(self._position + 1)

    def _one_record(self) -> Iterator[tuple[Place, object]]:
        line, limit = self._line, _LONGEST_OBJECT if self._next_character() == "{" else _LONGEST_VALUE
        try:
            value = self._value(limit)
        except _TooLongError:
            yield from self._members()
        else:
            yield self._place(line), value

    def _list_records(self) -> Iterator[tuple[Place, object]]:
        opening_line = self._line
        if self._is_conversation():
            yield self._place(opening_line), self._whole_value()
            return
        self._move_to(self._position + 1)
        index = 0
        while (character := self._next_character()) != "]":
            if not character:
                self._fail(opening_line, "this list is never closed; is the file cut short?")
            index += 1
            for place, value in self._one_record():
                several = self._line == opening_line and (index > 1 or self._next_character() == ",")
                yield place._replace(record=index if several else None), value
            if self._next_character() == ",":
                self._move_to(self._position + 1)
            elif self._next_character() not in ("]", ""):
                self._fail(self._line, "broken JSON (a comma is missing before this value); mend it")
        self._move_to(self._position + 1)

    def _is_conversation(self) -> bool:
        """Whether the list that begins here holds messages, by its first elements."""
        position, line, self._pinned = self._position, self._line, True
        messages = looked_at = 0
        self._move_to(position + 1)
        while looked_at < _LOOKED_AT and self._next_character() not in ("]", ""):
            try:
                value = self._value(_LONGEST_OBJECT)
            except (_TooLongError, DataError):
                # What is wrong with it, reading will say
                break
            looked_at += 1
            messages += is_bare_message(value)
            if self._next_character() == ",":
                self._move_to(self._position + 1)
        self._position, self._line, self._pinned = position, line, False
        return 2 * messages > looked_at

    def _members(self) -> Iterator[tuple[Place, object]]:
        """The records in an object that is too long to be held: each of its members by itself."""
        opening_line = self._line
        self._move_to(self._position + 1)
        while (character := self._next_character()) != "}":
            line, key = self._line, self._whole_value()
            if not character or not isinstance(key, str) or self._next_character() != ":":
                self._fail(opening_line, "broken JSON (this { is never closed); mend it")
            self._move_to(self._position + 1)
            kind = self._next_character()
            try:
                value = self._value(_LONGEST_OBJECT if kind in ("{", "[") else _LONGEST_VALUE)
            except _TooLongError:
                yield from self._list_records() if kind == "[" else self._members()
            else:
                if is_conversation(value) or is_record({key: value}):
                    yield self._place(line), {key: value}
            if self._next_character() == ",":
                self._move_to(self._position + 1)
        self._move_to(self._position + 1)

    def _whole_value(self) -> object:
        try:
            return self._value(_LONGEST_VALUE)
        except _TooLongError:
            self._fail(self._line, f"a JSON value of more than {_LONGEST_VALUE:,} characters; part it into records")

    def _value(self, limit: int) -> object:
        """The value that begins here; moves past it.

        Raises:
            DataError: it is broken.
            _TooLongError: it has more characters than this.
        """
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                # An escape that is cut hides the text that it is in, which may have to be cut first
                more = 1 if error.msg.startswith("Invalid \\") else 0
                if self._cut_string(error) or (self._may_go_on(error) and self._fill(limit, more)):
                    continue
                self._fail_at(error)
            except ValueError:
                self._fail(self._line, "this JSON value holds a number of too many digits; shorten it")
            except RecursionError:
                self._fail(self._line, "this JSON value is nested too deeply; take it out")
            # A number may go on
            if end == len(self._text) and isinstance(value, int | float) and self._fill(limit):
                continue
            self._move_to(end)
            return value

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether an error may be one of the end of the part at hand."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT_VALUE

    def _fill(self, limit: int, at_least: int = 0) -> bool:
        """Make the part at hand longer, by default twice as long; False where there is no more.

        Raises:
            _TooLongError: what is at hand is longer than a value may be.
        """
        if len(self._text) - self._position > limit:
            raise _TooLongError
        if self._ended:
            return False
        if not self._pinned:
            last = self._text.rfind("\n", 0, self._position)
            self._column = self._position - last - 1 if last >= 0 else self._column + self._position
            self._text, self._position = self._text[self._position :], 0
        wanted = at_least or max(_PART, len(self._text) - self._position)
        pieces = [self._text]
        for piece in self._more:
            pieces.append(piece)
            wanted -= len(piece)
            if wanted <= 0:
                break
        if len(pieces) == 1:
            # White space at the end of the file is no part of what is broken before it
            self._ended = True
            self._text = self._text.rstrip()
            self._position = min(self._position, len(self._text))
            return True
        self._text = ""
        self._text = "".join(pieces)
        return True

    def _cut_string(self, error: json.JSONDecodeError) -> bool:
        """Leave out of a text what is too long, up to its end; False where no text is too long."""
        if not error.msg.startswith("Unterminated string") or len(self._text) - error.pos <= LONGEST_STRING + _PART:
            return False
        cut = error.pos + 1 + LONGEST_STRING
        # Not inside an escape, which a space never is
        space = self._text.rfind(" ", cut - 1000, cut)
        cut = space if space > 0 else cut - 12 + len(self._text[cut - 12 : cut].split("\\")[0])
        rest, self._text = self._text[cut:], self._text[:cut]
        count = end = 0
        while rest:
            match = _STRING_REST.match(rest)
            end = match.end() if match is not None else 0
            count += end
            if end < len(rest) and rest[end] != "\\":
                break
            # The text goes on, perhaps with the other half of an escape
            rest, end = rest[end:] + next(self._more, ""), 0
            if len(rest) < 2:
                break
        self._cut(count)
        self._text += rest[end:] if rest[end : end + 1] == '"' else '"' + rest[end:]
        return True

    def _next_character(self) -> str:
        """The next character that is not white space, now at hand; empty at the end."""
        if self._position < len(self._text) and (character := self._text[self._position]) not in " \t\n":
            return character
        while True:
            space = _SPACE.match(self._text, self._position)
            if space is not None:
                self._move_to(space.end())
            if self._position < len(self._text) or not self._fill(_LONGEST_VALUE):
                return self._text[self._position : self._position + 1]

    def _move_to(self, position: int) -> None:
        self._line += self._text.count("\n", self._position, position)
        self._position = position

    def _fail_at(self, error: json.JSONDecodeError) -> NoReturn:
        line = self._line + self._text.count("\n", self._position, error.pos)
        if line > self._line and self._is_record_line(error.pos):
            # In JSON Lines, a value that is cut short is noticed only at the record after it.
            line = self._line
            problem = f"broken JSON (this {self._text[self._position]} is never closed); mend it"
        else:
            what = error.msg.removesuffix(" at")
            column = error.colno + (self._column if "\n" not in self._text[: error.pos] else 0)
            problem = f"broken JSON ({what} at column {column}); mend it"
        self._fail(line, problem)

    def _is_record_line(self, position: int) -> bool:
        """Whether the line at a position is a whole record by itself."""
        begin = self._text.rfind("\n", 0, position) + 1
        end = self._text.find("\n", position)
        candidate = self._text[begin : end if end >= 0 else None].strip().removesuffix(",")
        try:
            return is_record(DECODER.decode(candidate))
        except (ValueError, RecursionError):
            return False

    def _fail(self, line: int, problem: str) -> NoReturn:
        raise self._place(line).error(problem)

    def _place(self, line: int) -> Place:
        return Place(self._path, line)
