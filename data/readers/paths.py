"""From what users name to files: a file, a folder, a glob, each with a weight if it has one."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

from tinylm.data.readers.registry import suffixes
from tinylm.data.readers.sources import inner_suffix
from tinylm.errors import DataError

_SHOWN = 3


class DataFile(NamedTuple):
    """A file, and how often an epoch its examples are seen."""

    path: Path
    weight: float = 1.0


def find_files(
    entries: Iterable[str | PathLike[str]], notify: Callable[[str], None] = lambda _: None
) -> list[DataFile]:
    """The files that entries name.

    An entry is a path or `PATH=WEIGHT`; what exists under the whole name is a path. A folder stands for the files of
    known endings in it and in its folders, in the order of their names; a glob (`*`, `?`, `[…]`, `**`) for what it
    matches. Hidden files are left out of both, and of folders what is linked or closed, which is said. A file that is
    named twice is there twice.

    Args:
        entries: what the user gave.
        notify: told which files of folders are left out.

    Raises:
        DataError: an entry names nothing, or its weight is no number above 0.
    """
    files: list[DataFile] = []
    for entry in entries:
        path, weight = _parted(fspath(entry))
        files += [DataFile(file, weight) for file in _expanded(path, notify)]
    return files


def _parted(entry: str) -> tuple[str, float]:
    """The path and the weight of an entry."""
    path, equals, text = entry.rpartition("=")
    if os.path.lexists(entry) or not equals or not path:
        return entry, 1.0
    try:
        weight = float(text)
    except ValueError:
        if glob.has_magic(entry):
            return entry, 1.0
        raise DataError(entry, None, "no such file; a weight is a number, as in PATH=2 or PATH=0.5") from None
    if not 0 < weight < math.inf:
        raise DataError(path, None, f"its weight must be a number above 0, not {text}")
    return path, weight


def _expanded(path: str, notify: Callable[[str], None]) -> Iterator[Path]:
    if os.path.isdir(path):  # noqa: PTH112
        yield from _in_folder(Path(path), notify)
    elif os.path.lexists(path) or not glob.has_magic(path):
        # What is wrong with it, its reader says
        yield Path(path)
    else:
        matches = [Path(match) for match in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207
        if not matches:
            raise DataError(path, None, "no file matches; check the pattern")
        folders = {match for match in matches if match.is_dir()}
        # Of `**`, which matches folders beside the files in them, the files are meant
        for match in matches:
            if match not in folders:
                yield match
            elif not any(match in other.parents for other in matches):
                yield from _in_folder(match, notify)


def _in_folder(folder: Path, notify: Callable[[str], None]) -> Iterator[Path]:
    found: list[Path] = []
    skipped: list[Path] = []
    links: list[Path] = []
    closed: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += [path for name in folders if (path := Path(place) / name).is_symlink()]
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith("."):
                usable = inner_suffix(path) in suffixes() and (not path.is_file() or path.stat().st_size > 0)
                (found if usable else skipped).append(path)
    if folder in closed:
        raise DataError(folder, None, "no permission to read it; change its permissions")
    for paths, what in (
        (skipped, "files skipped, empty or of no known ending"),
        (links, "linked folders skipped; name them to read them too"),
        (closed, "folders skipped, which you have no permission to read"),
    ):
        if paths:
            listed = [str(path.relative_to(folder)) for path in paths[:_SHOWN]]
            more = ", …" if len(paths) > _SHOWN else ""
            notify(f"{folder}: {len(paths):,} {what}: {', '.join(listed)}{more}")
    if not found:
        raise DataError(folder, None, f"holds no file to read; their names must end in {', '.join(sorted(suffixes()))}")
    yield from sorted(found)
