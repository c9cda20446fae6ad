r"""Which encoding a text file is in, decided by the whole file.

A byte order mark decides at once: UTF-8, UTF-16 or UTF-32. Without one, a file that is UTF-8 from end to end is
UTF-8. Of any other, its runs of bytes above 0x7f are counted:

- runs that are UTF-8 by themselves;
- runs of one or two bytes that are text in cp1252, which holds all letters of Latin-1: an accented letter in or at
  a word, a quotation mark, a currency sign;
- anything else: longer runs, which are words in another alphabet's code page, and bytes that no text would have there.

The file is cp1252 where runs of the second kind are more than four times the others together. Otherwise it is
UTF-8 with something broken in it, and its reader says where. So a lone broken byte among valid UTF-8 is an error,
and a file whose only such byte is a fitting accented letter is read, with a word about it.
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

from tinylm.data.readers.sources import iter_bytes
from tinylm.errors import DataError


class Encoding(NamedTuple):
    """An encoding as people call it, and what Python needs."""

    name: str
    codec: str
    mark: bytes = b""


UTF8 = Encoding("UTF-8", "utf-8")
CP1252 = Encoding("cp1252 (Latin-1)", "cp1252")
# The mark of UTF-32 begins like that of UTF-16
_MARKED = (
    Encoding("UTF-8 with a byte order mark", "utf-8", codecs.BOM_UTF8),
    Encoding("UTF-32", "utf-32-le", codecs.BOM_UTF32_LE),
    Encoding("UTF-32", "utf-32-be", codecs.BOM_UTF32_BE),
    Encoding("UTF-16", "utf-16-le", codecs.BOM_UTF16_LE),
    Encoding("UTF-16", "utf-16-be", codecs.BOM_UTF16_BE),
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_LAST_ASCII = re.compile(rb"[\x00-\x7f][\x80-\xff]*\Z")
_SETTLED_SECONDS = 2.0
# With these, most characters of UTF-8 text in Latin script begin; as letters, they are no words by themselves
_FIRST_BYTES = (b"\xc2", b"\xc3", b"\xe2")
_NEVER_AFTER_A_LETTER = frozenset("\u201a\u201e\u20ac\u02c6\u02dc\u2039\u2020\u2021\u2030")


def encoding_of(path: str | PathLike[str]) -> Encoding:
    """The encoding of a text file, which is read as far as needed, in flat memory.

    It is remembered, since a file is opened several times while its form is found.

    Raises:
        DataError: the file cannot be opened or unpacked.
    """
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        # What is wrong with it, reading will say
        return _find_encoding(path)
    # A file that was just written may be written once more without another time
    if abs(time.time() - stat.st_mtime) < _SETTLED_SECONDS:
        return _find_encoding(path)
    return _remembered(fspath(path), (stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=16)
def _remembered(path: str, version: tuple[int, ...]) -> Encoding:  # noqa: ARG001 - tells versions of a file apart
    return _find_encoding(path)


def _find_encoding(path: str | PathLike[str]) -> Encoding:
    decoder = codecs.getincrementaldecoder("utf-8")()
    begun = False
    try:
        for chunk in iter_bytes(path):
            if not begun:
                for encoding in _MARKED:
                    if chunk.startswith(encoding.mark):
                        return encoding
            begun = True
            decoder.decode(chunk)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return CP1252 if _is_cp1252(path) else UTF8
    return UTF8


def iter_utf8(path: str | PathLike[str]) -> Iterator[bytes]:
    """The text of a file as UTF-8 in chunks, whatever its encoding, without a byte order mark.

    Raises:
        DataError: the file cannot be opened, or is broken UTF-16 or UTF-32. Broken UTF-8 is handed out as it is.
    """
    encoding = encoding_of(path)
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    line = 1
    to_skip = len(encoding.mark)
    for chunk in iter_bytes(path):
        content, to_skip = chunk[to_skip:], max(0, to_skip - len(chunk))
        if encoding.codec != "utf-8":
            text = _decoded(decoder, content, False, path, encoding, line)
            line += text.count("\n")
            content = text.encode("utf-8")
        if content:
            yield content
    if encoding.codec != "utf-8":
        _decoded(decoder, b"", True, path, encoding, line)


def _decoded(
    decoder: codecs.IncrementalDecoder,
    content: bytes,
    final: bool,
    path: str | PathLike[str],
    encoding: Encoding,
    line: int,
) -> str:
    try:
        return decoder.decode(content, final)
    except UnicodeDecodeError as error:
        before = bytes(error.object[: error.start]).decode(encoding.codec)
        raise DataError(
            path, line + before.count("\n"), f"broken {encoding.name} ({error.reason}); save it as UTF-8"
        ) from None


def _is_cp1252(path: str | PathLike[str]) -> bool:
    fitting = others = 0
    carried = b""
    for chunk in iter_bytes(path):
        text = carried + chunk
        last = _LAST_ASCII.search(text[-64:])
        # A run must not be cut, and is judged with its neighbours
        end = len(text) if last is None else max(0, len(text) - 64) + last.start()
        carried = text[end:]
        more_fitting, more_others = _count_runs(text[: end + 1])
        fitting, others = fitting + more_fitting, others + more_others
    more_fitting, more_others = _count_runs(carried)
    return fitting + more_fitting > 4 * (others + more_others)


def _count_runs(text: bytes) -> tuple[int, int]:
    """How many runs of high bytes fit cp1252, and how many do not."""
    fitting = total = 0
    for run in _HIGH_RUN.finditer(text):
        total += 1
        before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
        fitting += _fits_cp1252(run[0], before.decode() or " ", after.decode() or " ")
    return fitting, total - fitting


def _fits_cp1252(run: bytes, before: str, after: str) -> bool:
    """Whether bytes above 0x7f between two ASCII characters are text in cp1252."""
    if len(run) > 2 or _is_utf8(run):
        return False
    if run in _FIRST_BYTES and not before.isalpha() and not after.isalpha():
        return False
    try:
        characters = run.decode("cp1252")
    except UnicodeDecodeError:
        return False
    for character in characters:
        if character == "\xff" or (before.isalpha() and character in _NEVER_AFTER_A_LETTER):
            return False
        if before.islower() and character.isupper():
            return False
        before = character
    return True


def _is_utf8(run: bytes) -> bool:
    try:
        run.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
