"""Hash-verified disk cache for surveys, tokenizers and token ids of data files.

An entry is a folder of files and an `index.json` with their sizes and hashes; only its owner may read it. It is filled
under a temporary name and renamed when it is complete, so that several processes may make the same one at once. The
entries are in `data` in the user's cache folder, or in `TINYLM_DATA_CACHE`. The least recently used are removed when
all together are larger than `TINYLM_DATA_CACHE_GB`. They can be deleted at any time and are then recreated.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm import user_cache
from tinylm.errors import TinyLMError, WriteError
from tinylm.files import new_folder, remove_folder, sha256_of, write_file

INDEX = "index.json"
LIMIT_GB = 20.0
_VERSION = 1
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CacheEntry:
    """A complete entry.

    Attributes:
        path: its folder.
        facts: plain values that its maker returned.
    """

    path: Path
    facts: dict[str, Any]


def key_of(*parts: Any) -> str:
    """Return a key: a hash of plain values."""
    return hashlib.sha256(json.dumps([_VERSION, *parts], sort_keys=True).encode()).hexdigest()[:32]


class DataCache:
    """A folder of entries.

    Args:
        folder: where; None: the user's, or a temporary one for this process where that cannot be written.
        limit_bytes: of all entries together; entries that this process uses stay nevertheless.
        notify: called with a sentence for each broken entry.

    Raises:
        TinyLMError: `TINYLM_DATA_CACHE_GB` is no number of gigabytes.
    """

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: float | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder or self._default_folder()
        self.limit_bytes = limit_bytes if limit_bytes is not None else _limit_gb() * 1e9
        self._notify = notify
        self._used: set[Path] = set()

    def find(self, kind: str, key: str) -> CacheEntry | None:
        """Find an entry that this user may read, else None. A broken entry is removed."""
        path = self.folder / f"{kind}-{key}"
        if not path.is_dir():
            return None
        try:
            facts = _checked_facts(path)
        except PermissionError:  # another user's, in a folder that several use
            return None
        if facts is None:
            self._notify(f"{path} is broken: it is recreated")
            _remove(path)
            return None
        self._used.add(path)
        with suppress(OSError):
            os.utime(path / INDEX)
        return CacheEntry(path, facts)

    def make(self, kind: str, key: str, fill: Callable[[Path], dict[str, Any]]) -> CacheEntry:
        """Create an entry, or return the one that another process has created meanwhile.

        Args:
            kind: the first part of its name.
            key: the second part, from `key_of`.
            fill: writes files into the folder that it is given and returns the facts, plain values.

        Raises:
            WriteError: it cannot be written.
        """
        path = self.folder / f"{kind}-{key}"
        try:
            # Hashes tell whether an entry is whole, so nothing waits for the disk
            with new_folder(path, private=True, replace=False, durable=False) as folder:
                facts = fill(folder)
                files = {file.name: [file.stat().st_size, sha256_of(file)] for file in sorted(folder.iterdir())}
                content = {"version": _VERSION, "facts": facts, "files": files}
                index = json.dumps({**content, "sha256": _digest(content)}, indent=1)
                write_file(folder / INDEX, index, private=True)
        except WriteError as error:
            other = self.find(kind, key)
            if other is None:
                raise WriteError(f"{error}; make room, or let TINYLM_DATA_CACHE name another folder") from None
            return other
        self._used.add(path)
        self._prune()
        return CacheEntry(path, json.loads(json.dumps(facts)))

    def entries(self) -> list[tuple[Path, int, float]]:
        """All entries, the least recently used first: folder, bytes, and the time of its last use."""
        found: list[tuple[Path, int, float]] = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    if (path / INDEX).is_file() and not path.name.startswith("."):
                        size = sum(file.stat().st_size for file in path.iterdir())
                        found.append((path, size, (path / INDEX).stat().st_mtime))
        return sorted(found, key=lambda entry: entry[2])

    def clear(self) -> None:
        """Remove all entries."""
        for path, _, _ in self.entries():
            _remove(path)
        self._remove_leftovers(0.0)

    def _prune(self) -> None:
        self._remove_leftovers(_LEFTOVER_SECONDS)
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if total <= self.limit_bytes:
                break
            if path not in self._used:
                _remove(path)
                total -= size

    def _remove_leftovers(self, seconds: float) -> None:
        """Remove the temporary folders of killed processes that are this old."""
        for path in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                newest = max(part.stat().st_mtime for part in (path, *path.iterdir()))
                if time.time() - newest >= seconds:
                    shutil.rmtree(path, ignore_errors=True)

    def _default_folder(self) -> Path:
        given = os.environ.get("TINYLM_DATA_CACHE")
        if given:
            return Path(given)
        if user_cache.is_writable():
            return user_cache.cache_folder() / "data"
        lent = tempfile.mkdtemp(prefix="tinylm-data-")
        weakref.finalize(self, shutil.rmtree, lent, ignore_errors=True)
        return Path(lent)


def _limit_gb() -> float:
    text = os.environ.get("TINYLM_DATA_CACHE_GB", "")
    try:
        limit = float(text or LIMIT_GB)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise TinyLMError(f"TINYLM_DATA_CACHE_GB={text}: give a number of gigabytes, 0 or more")
    return limit


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checked_facts(path: Path) -> dict[str, Any] | None:
    """The facts of an entry whose files are those of its index, else None.

    Raises:
        PermissionError: this user may not read it.
    """
    try:
        content = json.loads((path / INDEX).read_text("utf-8"))
        digest = content.pop("sha256")
        if digest != _digest(content) or content["version"] != _VERSION:
            return None
        for name, (size, sha256) in content["files"].items():
            if (path / name).stat().st_size != size or sha256_of(path / name) != sha256:
                return None
        facts: dict[str, Any] = content["facts"]
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts


def _remove(path: Path) -> None:
    with suppress(TinyLMError):
        remove_folder(path)
