"""Standard output and standard error that never end a command with a traceback.

Python's own streams raise on a full disk wherever something is written, also when the interpreter ends, and on
characters that the stream's encoding lacks.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING, TextIO

from tinylm.errors import WriteError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def protect_streams() -> None:
    """Replace stdout and stderr; characters that they cannot show become question marks."""
    sys.stdout = _protected(sys.stdout, _Results)
    sys.stderr = _protected(sys.stderr, _Messages)


class _Results(io.FileIO):
    """Stdout: the first write that fails is an error of the user's, and nothing is written after it."""

    _has_failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if not self._has_failed:
            try:
                return super().write(data)
            except OSError as error:
                self._has_failed = True
                if error.errno == errno.EPIPE:  # the reader has gone: click ends the command
                    raise
                raise WriteError(f"stdout: cannot be written ({error.strerror})") from None
        return memoryview(data).nbytes


class _Messages(io.FileIO):
    """Stderr: what cannot be written is lost, as a message is never worth the work of a command."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _protected(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # none at all, or what a test or a notebook put there
        return stream
    if sys.platform == "win32" and stream.isatty():  # Python writes to a console in a way of its own
        stream.reconfigure(errors="replace")
        return stream
    stream.flush()
    file = io.BufferedWriter(kind(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(
        file, stream.encoding, "replace", line_buffering=stream.line_buffering, write_through=stream.write_through
    )
