"""What TinyLM remembers of files and machines, in the user's cache folder; all of it can be found out again."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tinylm.errors import TinyLMError
from tinylm.files import write_file


def cache_folder() -> Path:
    """The folder, which need not exist.

    Raises:
        RuntimeError: this user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return Path(base) / "tinylm" if base else Path.home() / ".cache" / "tinylm"


def is_writable() -> bool:
    """Whether anything can be remembered: a home may be missing, read-only or another user's."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):
        return False


def recall(kind: str, key: str) -> str | None:
    """What was remembered under a key, None where that is nothing or cannot be read."""
    try:
        return (cache_folder() / kind / key).read_text("utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


def remember(kind: str, key: str, text: str) -> None:
    """Remember a text under a key, where the folder can be written.

    Args:
        kind: what it is about; a folder's name.
        key: a file's name.
        text: what to remember.
    """
    with suppress(OSError, RuntimeError, TinyLMError):
        path = cache_folder() / kind / key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
