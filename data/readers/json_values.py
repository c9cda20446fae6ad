"""JSON and JSON Lines files as a stream of records, each with the place where it begins.

A file is told by its content: as long as lines are whole JSON values, it is read line by line in flat memory.
From the first line that is not, the rest is read as values over several lines. A list of records counts as
its records, and the brackets of the outermost list may both be missing, with or without commas between the
records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from os import PathLike
from typing import NoReturn

from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.records import is_list_of_messages, is_record
from tinylm.errors import DataError

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n]*")
_OPENINGS = ("{", "[")


def iter_json_records(path: str | PathLike[str]) -> Iterator[tuple[Place, object]]:
    """The records of a JSON or JSON Lines file.

    Args:
        path: a UTF-8 file; its name does not matter.

    Yields:
        Where the record begins, and the record: mostly an object or a list of messages. Nothing where the
        file is empty.

    Raises:
        DataError: the file cannot be read as text, or is not JSON from some line on.
    """
    lines = iter_lines(path)
    begun = False
    for number, line in lines:
        candidate = line.strip().removesuffix(",")
        if not candidate:
            continue
        if not begun and not candidate.startswith(_OPENINGS):
            raise DataError(path, number, "is not JSON, which begins with { or [; name a text file .txt")
        begun = True
        try:
            value = _DECODER.decode(candidate)
        except (ValueError, RecursionError):
            rest = "\n".join([line, *(later for _, later in lines)])
            yield from _TextReader(path, number, rest).records()
            return
        if isinstance(value, list) and not is_record(value):
            for index, element in enumerate(value, 1):
                yield Place(path, number, index if len(value) > 1 else None), element
        else:
            yield Place(path, number), value


class _TextReader:
    """Reads values that go over several lines from a text that is held in memory."""

    def __init__(self, path: str | PathLike[str], first_line: int, text: str) -> None:
        self._path = path
        self._text = text.rstrip()
        self._position = 0
        self._line = first_line

    def records(self) -> Iterator[tuple[Place, object]]:
        while self._next_character():
            if self._next_character() == "[":
                yield from self._list_records()
            else:
                yield self._place(self._line), self._value()
            if self._next_character() == ",":
                self._move_to(self._position + 1)

    def _list_records(self) -> Iterator[tuple[Place, object]]:
        opening, opening_line = self._position, self._line
        self._move_to(opening + 1)
        first = True
        while (character := self._next_character()) != "]":
            if not character:
                self._fail(opening_line, "this list is never closed; is the file cut short?")
            line, value = self._line, self._value()
            if first and is_list_of_messages(value):
                self._position, self._line = opening, opening_line
                yield self._place(opening_line), self._value()
                return
            first = False
            yield self._place(line), value
            if self._next_character() == ",":
                self._move_to(self._position + 1)
            elif self._next_character() not in ("]", ""):
                self._fail(self._line, "broken JSON (a comma is missing before this value); mend it")
        self._move_to(self._position + 1)

    def _value(self) -> object:
        """The value that begins here; moves past it."""
        try:
            value, end = _DECODER.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            self._fail_at(error)
        except ValueError:
            self._fail(self._line, "this JSON value holds a number of too many digits; shorten it")
        except RecursionError:
            self._fail(self._line, "this JSON value is nested too deeply; take it out")
        self._move_to(end)
        return value

    def _next_character(self) -> str:
        """The next character that is not white space, now at hand; empty at the end."""
        space = _SPACE.match(self._text, self._position)
        if space is not None:
            self._move_to(space.end())
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
            problem = f"broken JSON ({what} at column {error.colno}); mend it"
        self._fail(line, problem)

    def _is_record_line(self, position: int) -> bool:
        """Whether the line at a position is a whole record by itself."""
        begin = self._text.rfind("\n", 0, position) + 1
        end = self._text.find("\n", position)
        candidate = self._text[begin : end if end >= 0 else None].strip().removesuffix(",")
        try:
            return is_record(_DECODER.decode(candidate))
        except (ValueError, RecursionError):
            return False

    def _fail(self, line: int, problem: str) -> NoReturn:
        raise self._place(line).error(problem)

    def _place(self, line: int) -> Place:
        return Place(self._path, line)
