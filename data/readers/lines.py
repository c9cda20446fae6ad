r"""Text files as numbered lines, in flat memory, and places in them for errors to name.

CRLF and lone CR become LF, and only LF ends a line: `str.splitlines` would also split at U+0085, U+2028, \v and \f,
which are text. A byte order mark at the beginning of a line is none of its text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import islice
from os import PathLike
from typing import NamedTuple

from tinylm.data.readers.encodings import iter_utf8
from tinylm.errors import DataError

LONGEST_LINE = 16_000_000
"""Characters of the longest line that is held in memory."""
PIECE_BYTES = 1 << 20
_BOM = "\ufeff"


class Place(NamedTuple):
    """Where in a file something begins, to send the user there when it is wrong."""

    path: str | PathLike[str]
    line: int | None
    """Counted from 1; in a table without lines, the row; None for the whole file."""
    record: int | None = None
    """Which record of the line, counted from 1, where a line holds several."""

    def error(self, problem: str) -> DataError:
        """Make the error that says what is wrong here, for the caller to raise."""
        return DataError(self.path, self.line, problem + self.suffix)

    @property
    def suffix(self) -> str:
        """What a message says about the record, where a line holds several."""
        return "" if self.record is None else f" (record {self.record} of this line)"


Piece = tuple[int, str, bool, bool]
"""A line, or a part of a very long one: the line's number from 1, text without the line end, and whether the line
begins and ends with it."""


def iter_lines(path: str | PathLike[str], longest: int | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file, one by one.

    Args:
        path: a regular file, packed or not, in any encoding of `tinylm.data.readers.encodings`; it is opened at the
            first step.
        longest: characters of the longest line; None: `LONGEST_LINE`.

    Yields:
        The number of the line, counted from 1, and its text without the line end. A line end at the end of
        the file opens no further line.

    Raises:
        DataError: the file cannot be opened, cannot be unpacked, looks binary, is broken in its encoding, or has a line
            that is longer.
    """
    longest = LONGEST_LINE if longest is None else longest
    held: list[str] = []
    size = 0
    for line, text, begins, ends in iter_pieces(path):
        if begins and ends:
            yield line, text
            continue
        held.append(text)
        size += len(text)
        if size > longest:
            raise DataError(path, line, f"a line of more than {longest:,} characters; part it into shorter ones")
        if ends:
            yield line, "".join(held)
            held, size = [], 0


def iter_heads(path: str | PathLike[str], count: int) -> Iterator[tuple[int, str]]:
    """The first lines of a text file, or what they begin with where they are very long.

    Raises:
        DataError: the file cannot be read as text so far.
    """
    return islice(((line, text) for line, text, begins, _ in iter_pieces(path) if begins), count)


def iter_pieces(path: str | PathLike[str]) -> Iterator[Piece]:
    """The lines of a text file in flat memory: lines of more than some `PIECE_BYTES` come in pieces.

    Raises:
        DataError: the file cannot be opened, cannot be unpacked, looks binary, or is broken in its encoding.
    """
    number = 1
    rest = _Rest(path)
    for chunk in _iter_chunks(path):
        nul = chunk.find(b"\0")
        if nul >= 0:
            raise DataError(
                path,
                number + chunk.count(b"\n", 0, nul),
                "looks binary, not text (it holds a NUL byte); unpack it or save it as UTF-8 text",
            )
        end = chunk.rfind(b"\n")
        if end < 0:
            rest.add(chunk)
        else:
            head, _, lines = chunk[:end].partition(b"\n")
            rest.add(head)
            yield rest.close(number)
            number += 1
            if len(head) < end:
                for text in _decoded(path, number, lines):
                    yield number, text, True, True
                    number += 1
            rest.add(chunk[end + 1 :])
        if rest.size >= PIECE_BYTES:
            yield rest.piece(number)
    if rest.size or not rest.begins:
        yield rest.close(number)


def _decoded(path: str | PathLike[str], number: int, lines: bytes) -> list[str]:
    """Whole lines as text."""
    try:
        text = lines.decode("utf-8")
    except UnicodeDecodeError as error:
        before = lines[: error.start]
        line = number + before.count(b"\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        raise _broken(path, line, lines[error.start], column) from None
    split = text.split("\n")
    return [line.lstrip(_BOM) for line in split] if _BOM in text else split


def _broken(path: str | PathLike[str], line: int, byte: int, column: int) -> DataError:
    return DataError(path, line, f"not UTF-8 text (byte 0x{byte:02x} at column {column}); save it as UTF-8")


class _Rest:
    """The bytes of a line that is not at its end yet."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = path
        self._held: list[bytes] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._characters = 0
        self.size = 0
        self.begins = True

    def add(self, content: bytes) -> None:
        """Take in more of the line."""
        self._held.append(content)
        self.size += len(content)

    def piece(self, number: int) -> Piece:
        """What there is of the line, which goes on; characters that are cut stay behind."""
        piece = number, self._taken(number, final=False), self.begins, False
        self.begins = False
        return piece

    def close(self, number: int) -> Piece:
        """The rest of the line; the next one begins."""
        piece = number, self._taken(number, final=True), self.begins, True
        self.begins = True
        self._characters = 0
        return piece

    def _taken(self, number: int, final: bool) -> str:
        content = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held, self.size = [], 0
        try:
            text = self._decoder.decode(content, final)
        except UnicodeDecodeError as error:
            broken: bytes = error.object
            column = self._characters + len(broken[: error.start].decode("utf-8")) + 1
            raise _broken(self._path, number, broken[error.start], column) from None
        self._characters += len(text)
        return text.lstrip(_BOM) if self.begins else text


def _iter_chunks(path: str | PathLike[str]) -> Iterator[bytes]:
    """The text as UTF-8 with LF as the only line end."""
    held = b""
    for chunk in iter_utf8(path):
        whole = held + chunk
        # A CR at the end of a chunk may be the first half of a CRLF
        held = b"\r" if whole.endswith(b"\r") else b""
        yield whole[: len(whole) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if held:
        yield b"\n"
