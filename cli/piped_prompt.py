"""The prompt from a pipe, or from a file that stdin is redirected from."""

from __future__ import annotations

import codecs
import sys

from tinylm.errors import TinyLMError

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def piped_prompt() -> str | None:
    """Read all of stdin, unless it is a terminal.

    Returns:
        the text; empty where stdin is closed, None where it is a terminal.

    Raises:
        TinyLMError: it cannot be read, or is not text.
    """
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        return None
    try:
        return decode_prompt(sys.stdin.buffer.read())
    except OSError as error:
        raise TinyLMError(f"stdin: cannot be read ({error.strerror or error})") from None


def decode_prompt(data: bytes) -> str:
    r"""The text that a program or an editor wrote: UTF-8, or UTF-16 with a byte order mark.

    The byte order mark is not part of the text, and neither is one line end at its end, which `echo` and editors add.
    Line ends in it become \n, as in training data.

    Raises:
        TinyLMError: it is not text in this encoding.
    """
    mark, codec = next(((mark, codec) for mark, codec in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(codec)
    except UnicodeDecodeError as error:
        place = f"byte 0x{error.object[error.start]:02x} at {len(mark) + error.start}"
        raise TinyLMError(f"stdin: not {codec.upper()[:6].rstrip('-')} text ({place}); save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
