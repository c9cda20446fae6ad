r"""Text files as numbered lines, in flat memory, and places in them for errors to name.

A file is UTF-8, with or without a byte order mark. CRLF and lone CR become LF, and only LF ends a line:
`str.splitlines` would also split at U+0085, U+2028, \v and \f, which are text.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from tinylm.errors import DataError

_CHUNK_BYTES = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Place(NamedTuple):
    """Where in a file something begins, to send the user there when it is wrong."""

    path: str | PathLike[str]
    line: int
    """Counted from 1."""
    record: int | None = None
    """Which record of the line, counted from 1, where a line holds several."""

    def error(self, problem: str) -> DataError:
        """Make the error that says what is wrong here, for the caller to raise."""
        suffix = "" if self.record is None else f" (record {self.record} of this line)"
        return DataError(self.path, self.line, problem + suffix)


def iter_lines(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text file, one by one.

    Args:
        path: a regular file; it is opened at the first step.

    Yields:
        The number of the line, counted from 1, and its text without the line end. A line end at the end of
        the file opens no further line.

    Raises:
        DataError: the file cannot be opened, looks binary, or is not UTF-8.
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
    """The bytes of the file without a byte order mark and with LF as the only line end."""
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(path, None, "is a directory; give a file in it")
        # Some readers go over a file twice, which a pipe does not allow.
        if not stat.S_ISREG(mode):
            raise DataError(path, None, "is not a regular file; save the data to one and give that")
        with Path(path).open("rb") as file:
            chunk = file.read(_CHUNK_BYTES)
            if chunk.startswith(_UTF16_MARKS):
                raise DataError(path, 1, "is UTF-16 text; save it as UTF-8")
            chunk = chunk.removeprefix(_UTF8_MARK)
            while chunk:
                # A CR at the end of a chunk may be the first half of a CRLF.
                while chunk.endswith(b"\r") and (more := file.read(_CHUNK_BYTES)):
                    chunk += more
                yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                chunk = file.read(_CHUNK_BYTES)
    except FileNotFoundError:
        raise DataError(path, None, "no such file; check the path") from None
    except PermissionError:
        raise DataError(path, None, "no permission to read it; change its permissions") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise DataError(path, None, f"cannot be a path ({error}); check it") from None
