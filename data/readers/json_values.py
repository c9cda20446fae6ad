"""JSON and JSON Lines files as a stream of records, each with the place where it begins.

A file is told by its content: as long as lines are whole JSON values, it is read line by line. From the first line that
is not, or is very long, the rest is read as values over several lines. A list of records counts as its records, and the
brackets of the outermost list may both be missing, with or without commas between the records. Memory is flat but for
the record at hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain
from os import PathLike

from tinylm.data.readers.forms import Reader, Reading
from tinylm.data.readers.json_stream import DECODER, JsonStream
from tinylm.data.readers.lines import Place, iter_pieces
from tinylm.data.readers.record_keys import is_record
from tinylm.data.readers.records import parts_of_records
from tinylm.data.readers.turns import OddError, Part
from tinylm.errors import DataError

_OPENINGS = ("{", "[")
_LONGEST_HELD = 4_000_000
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_CUT = "characters of texts that are too long to be held; save such a text as .txt"


class JsonReader(Reader):
    """JSON and JSON Lines."""

    suffixes = (".json", ".jsonl", ".ndjson")

    def claims(self, reading: Reading) -> bool:
        """Whether its name says so, or under an unknown name its first value is an object or a list."""
        if reading.suffix in self.suffixes:
            return True
        try:
            _, record = next(iter_json_records(reading.path), (None, None))
        except DataError:
            # Not JSON; what else may be wrong with the file, the reader of its form will say
            return False
        return isinstance(record, dict | list)

    def parts(self, reading: Reading) -> Iterator[Part]:
        """What the records hold."""
        reading.summary.container = "JSON Lines" if reading.suffix in _LINE_SUFFIXES else "JSON"

        def count(characters: int) -> None:
            reading.summary.dropped[_CUT] += characters

        yield from parts_of_records(iter_json_records(reading.path, count), reading)


def iter_json_records(
    path: str | PathLike[str], cut: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[Place, object]]:
    """The records of a JSON or JSON Lines file.

    Args:
        path: a UTF-8 file; its name does not matter.
        cut: told how many characters are left out at the end of a text that is too long to be held.

    Yields:
        Where the record begins, and the record: mostly an object or a list of messages; an `OddError` for a line that
        is not JSON among lines that are. Nothing where the file is empty.

    Raises:
        DataError: the file cannot be read as text, or is not JSON from some line on.
    """
    lines = _Lines(path)
    begun = False
    while (line := lines.next()) is not None:
        number, text, whole = line
        candidate = text.strip().removesuffix(",")
        if not candidate:
            continue
        value = _decoded(candidate) if whole else None
        begins_well = begun or candidate.startswith(_OPENINGS)
        if value is None or not begins_well:
            may_be_odd = whole and (begun or not begins_well or _breaks_inside(candidate))
            if may_be_odd and not candidate.endswith(_OPENINGS) and lines.next_is_record():
                yield Place(path, number), OddError(Place(path, number), "this line is no JSON object; mend it")
                continue
            if not begins_well:
                raise DataError(path, number, "is not JSON, which begins with { or [; name a text file .txt")
            yield from JsonStream(path, number, text, lines.rest(whole), cut).records()
            return
        begun = True
        yield from _records_of_line(Place(path, number), value[0])


def _decoded(candidate: str) -> tuple[object] | None:
    try:
        return (DECODER.decode(candidate),)
    except (ValueError, RecursionError):
        return None


def _breaks_inside(candidate: str) -> bool:
    """Whether a line cannot be the beginning of a value over several lines."""
    try:
        DECODER.decode(candidate)
    except json.JSONDecodeError as error:
        return error.pos < len(candidate) and not error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        pass
    return False


def _records_of_line(place: Place, value: object) -> Iterator[tuple[Place, object]]:
    if isinstance(value, list) and not is_record(value):
        for index, element in enumerate(value, 1):
            yield place._replace(record=index if len(value) > 1 else None), element
    else:
        yield place, value


class _Lines:
    """The lines of a file, with a look at the next; of a very long one, what it begins with."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._pieces = iter_pieces(path)
        self._next: list[tuple[int, str, bool]] = []

    def next(self) -> tuple[int, str, bool] | None:
        """Number and text of the next line, and whether that is all of it."""
        if self._next:
            return self._next.pop()
        held: list[str] = []
        size = 0
        for number, text, _, ends in self._pieces:
            if ends and not held:
                return number, text, True
            held.append(text)
            size += len(text)
            if ends or size > _LONGEST_HELD:
                return number, "".join(held), ends
        return None

    def next_is_record(self) -> bool:
        """Whether the next line that is not blank is a JSON object or list."""
        while (line := self.next()) is not None:
            if line[1].strip():
                self._next.append(line)
                value = _decoded(line[1].strip().removesuffix(",")) if line[2] else None
                return value is not None and isinstance(value[0], dict | list)
        return False

    def rest(self, after_line: bool) -> Iterator[str]:
        """All that comes after the last line, or after what was taken of it."""
        looked_at = [(number, text, True, whole) for number, text, whole in self._next]
        self._next = []
        yield "\n" if after_line else ""
        for _, text, _, ends in chain(looked_at, self._pieces):
            yield text + "\n" if ends else text
