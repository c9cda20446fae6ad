"""What was made of data files, kept on disk for the next run: complete and unharmed, or not used.

An entry is a folder of files and an `index.json` with their sizes and hashes. It is filled under another name and
renamed when it is complete, so that processes may make the same one at once. The folder is `data` in the user's cache
folder or `TINYLM_DATA_CACHE`; what was not used for longest goes where all together are larger than
`TINYLM_DATA_CACHE_GB`. All of it can be deleted at any time, and is made anew when it is wanted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
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
from tinylm.errors import TinyLMError
from tinylm.files import sha256_of

INDEX = "index.json"
LIMIT_GB = 20.0
_VERSION = 1
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Entry:
    """A complete entry.

    Attributes:
        path: its folder.
        facts: what its maker noted down.
    """

    path: Path
    facts: dict[str, Any]


def key_of(*parts: Any) -> str:
    """A name for what is made of these plain values."""
    return hashlib.sha256(json.dumps([_VERSION, *parts], sort_keys=True).encode()).hexdigest()[:32]


class DataCache:
    """A folder of entries.

    Args:
        folder: where; None: the user's, or one for this process alone where that cannot be written.
        limit_bytes: of all entries together, those that this process uses excepted.
        notify: told about entries that are broken.

    Raises:
        TinyLMError: a variable makes no sense.
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

    def find(self, kind: str, key: str) -> Entry | None:
        """An entry, if there is one and its files are what they were; a broken one is removed."""
        path = self.folder / f"{kind}-{key}"
        if not path.is_dir():
            return None
        facts = _checked_facts(path)
        if facts is None:
            self._notify(f"{path} is broken: it is made anew")
            _remove(path)
            return None
        self._used.add(path)
        with suppress(OSError):
            os.utime(path / INDEX)
        return Entry(path, facts)

    def make(self, kind: str, key: str, fill: Callable[[Path], dict[str, Any]]) -> Entry:
        """Make an entry; where another process has made it meanwhile, that one is taken.

        Args:
            kind: of entry, a part of its name.
            key: the rest of its name, as of `key_of`.
            fill: writes files into the folder that it is given and returns the facts, plain values.

        Raises:
            TinyLMError: it cannot be written.
        """
        path = self.folder / f"{kind}-{key}"
        temporary = self.folder / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            temporary.mkdir(parents=True)
            facts = fill(temporary)
            files = {file.name: [file.stat().st_size, sha256_of(file)] for file in sorted(temporary.iterdir())}
            content = {"version": _VERSION, "facts": facts, "files": files}
            (temporary / INDEX).write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1), "utf-8")
            try:
                temporary.rename(path)
            except OSError:
                other = self.find(kind, key)
                if other is not None:
                    return other
                temporary.rename(path)
        except OSError as error:
            raise TinyLMError(
                f"{self.folder}: cannot be written ({error.strerror or error}); "
                "make room, or let TINYLM_DATA_CACHE name another folder"
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._used.add(path)
        self._prune()
        return Entry(path, json.loads(json.dumps(facts)))

    def entries(self) -> list[tuple[Path, int, float]]:
        """All entries, the one that was not used for longest first: folder, bytes, and when it was used last."""
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
        """What killed processes left half-written."""
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
    """The facts of an entry whose index and files agree, else None."""
    try:
        content = json.loads((path / INDEX).read_text("utf-8"))
        digest = content.pop("sha256")
        if digest != _digest(content) or content["version"] != _VERSION:
            return None
        for name, (size, sha256) in content["files"].items():
            if (path / name).stat().st_size != size or sha256_of(path / name) != sha256:
                return None
        facts: dict[str, Any] = content["facts"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts


def _remove(path: Path) -> None:
    """Take an entry away under another name first, so that nobody finds half of it."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with suppress(OSError):
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
