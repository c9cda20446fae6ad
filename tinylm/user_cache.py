"""Disposable key-value cache in the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tinylm.errors import TinyLMError
from tinylm.files import write_file


def cache_folder() -> Path:
    """The cache folder, which may not exist yet: `tinylm` in XDG_CACHE_HOME, else in the platform's cache folder.

    Raises:
        RuntimeError: this user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        # On every platform, also where XDG_CACHE_HOME is not customary
        return Path(base) / "tinylm"
    from platformdirs import user_cache_path

    path = user_cache_path("tinylm", appauthor=False)
    if not path.is_absolute():
        raise RuntimeError(f"{path}: no home folder")
    return path


def is_writable() -> bool:
    """Whether the cache can be written: a home may be missing, read-only or another user's."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):
        return False


def recall(kind: str, key: str) -> str | None:
    """Read the text of a key; None if there is none or it cannot be read."""
    try:
        return (cache_folder() / kind / key).read_text("utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


def remember(kind: str, key: str, text: str) -> None:
    """Store a text under a key, readable by this user only; do nothing if the folder cannot be written.

    Args:
        kind: a folder's name.
        key: a file's name.
        text: the text to store.
    """
    with suppress(OSError, RuntimeError, TinyLMError):
        path = cache_folder() / kind / key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text, private=True)
