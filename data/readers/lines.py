r"""Text files as numbered lines, in flat memory, and places in them for errors to name.

CRLF and lone CR become LF, and only LF ends a line: `str.splitlines` would also split at U+0085, U+2028, \v and \f,
which are text.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple

from tinylm.data.readers.encodings import iter_utf8
from tinylm.errors import DataError


class Place(NamedTuple):
    """Where in a file something begins, to send the user there when it is wrong."""

    path: str | PathLike[str]
    line: int
    """Counted from 1; in a table without lines, the row."""
    record: int | None = None
    """Which record of the line, counted from 1, where a line holds several."""

    def error(self, problem: str) -> DataError:
        """Make the error that says what is wrong here, for the caller to raise."""
        return DataError(self.path, self.line, problem + self.suffix)

    @property
    def suffix(self) -> str:
        """What a message says about the record, where a line holds several."""
        return "" if self.record is None else f" (record {self.record} of this line)"


def iter_lines(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text file, one by one.

    Args:
        path: a regular file, packed or not, in any encoding of `tinylm.data.readers.encodings`; it is opened at the
            first step.

    Yields:
        The number of the line, counted from 1, and its text without the line end. A line end at the end of
        the file opens no further line.

    Raises:
        DataError: the file cannot be opened, cannot be unpacked, looks binary, or is broken in its encoding.
    """
    number = 1
    pieces: list[bytes] = []
    for chunk in _iter_chunks(path):
        nul = chunk.find(b"\0")
        if nul >= 0:
            raise DataError(
                path,
                number + chunk.count(b"\n", 0, nul),
                "looks binary, not text (it holds a NUL byte); unpack it or save it as UTF-8 text",
            )
        head, *tail = chunk.split(b"\n")
        pieces.append(head)
        for piece in tail:
            yield number, _decode(path, number, b"".join(pieces))
            number += 1
            pieces = [piece]
    last = b"".join(pieces)
    if last:
        yield number, _decode(path, number, last)


def _decode(path: str | PathLike[str], number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        problem = f"not UTF-8 text (byte 0x{line[error.start]:02x} at column {column}); save it as UTF-8"
        raise DataError(path, number, problem) from None


def _iter_chunks(path: str | PathLike[str]) -> Iterator[bytes]:
    """The text as UTF-8 with LF as the only line end."""
    chunks = iter_utf8(path)
    for chunk in chunks:
        whole = chunk
        # A CR at the end of a chunk may be the first half of a CRLF.
        while whole.endswith(b"\r") and (more := next(chunks, b"")):
            whole += more
        yield whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
