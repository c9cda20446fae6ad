"""Text that every stream, file and JSON parser takes."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def printable(text: str | os.PathLike[str]) -> str:
    """Text without lone surrogates, by which Python stands for the bytes of a file name that are not UTF-8.

    Bytes that are UTF-8 after all, as under `LANG=C`, become their characters; the others become U+FFFD.
    """
    text = os.fspath(text)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def json_text(values: Mapping[str, Any], indent: int | None = None) -> str:
    """A JSON object in ASCII, whatever encoding the stream has; numbers that JSON does not know become null."""
    return json.dumps(_plain(values), indent=indent, allow_nan=False)


def command_line(*words: str | os.PathLike[str]) -> str:
    """A command for the user to type, each word quoted where the shell needs it.

    Args:
        words: paths as `Path`, so that one that begins with a hyphen is not taken for an option.
    """
    shown = [printable(_not_an_option(word) if isinstance(word, Path) else word) for word in words]
    return subprocess.list2cmdline(shown) if os.name == "nt" else shlex.join(shown)


def _plain(value: Any) -> Any:
    match value:
        case str() | os.PathLike():
            return printable(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value


def _not_an_option(path: Path) -> str:
    return f".{os.sep}{path}" if str(path).startswith("-") else str(path)
