"""Atomic writes of files and folders.

Everything that a command writes goes through here: a file or folder is there whole or not at all, and what was there
before stays until then. Modes, the umask and symbolic links are kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tinylm.errors import TinyLMError, WriteError
from tinylm.printable import printable

_TEMPORARY = re.compile(r"^\.(.+)\.(?:[0-9a-f]{8}\.tmp|replaced)$")
_SPARE_BYTES = 64 * 1024


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write a file; see `write_files`."""
    write_files({path: content}, private=private)


def write_files(contents: Mapping[Path, str | bytes], *, private: bool = False) -> None:
    """Write files, and let them take their names only once all of them are whole on the disk.

    A file that is there keeps its mode, and a symbolic link stays: the file that it points to is replaced. What is no
    regular file, such as a pipe, is written in place.

    Args:
        contents: text, which is written as UTF-8, or bytes.
        private: give a new file the mode 0600, instead of what the umask leaves of 0666.

    Raises:
        WriteError: no permission, a full disk and the like.
    """
    written: dict[Path, tuple[Path, Path]] = {}
    try:
        for path, content in contents.items():
            data = content.encode("utf-8", "replace") if isinstance(content, str) else content
            with user_errors(path):
                target = _resolved(path)
                if target.exists() and not target.is_file():
                    target.write_bytes(data)
                else:
                    written[path] = _write_temporary(target, data, private), target
        for path, (temporary, target) in written.items():
            with user_errors(path):
                temporary.replace(target)
    except BaseException:
        for temporary, _ in written.values():
            _forget(temporary)
        raise


def check_writable(path: Path) -> None:
    """Make sure that a file can be written, a little longer than it is now; it stays as it is.

    Raises:
        WriteError: it cannot, for the reasons of `write_file`.
    """
    with user_errors(path):
        target = _resolved(path)
        size = target.stat().st_size if target.exists() else 0
        if size or not target.exists() or target.is_file():
            _write_temporary(target, bytes(size + _SPARE_BYTES), private=True).unlink()


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, all of it or nothing.

    Raises:
        WriteError: no permission, a full disk and the like.
    """
    rest = memoryview((line + "\n").encode("utf-8", "replace"))
    with user_errors(path), path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise


@contextmanager
def new_folder(target: Path, *, private: bool = False, replace: bool = True, durable: bool = True) -> Iterator[Path]:
    """A temporary folder beside `target` to fill; at a clean exit it takes that place, otherwise it is removed.

    An existing `target` is moved aside first and deleted last: `recover_folder` finds it again should the process
    be killed between the two renames. Its mode and those of its files are kept; where it is a symbolic link, the folder
    that it points to is replaced.

    Args:
        target: the folder's place; folders above it are made.
        private: let nobody else read the files.
        replace: take the place of an existing folder; otherwise one that is not empty is an error.
        durable: wait until everything is on the disk.

    Raises:
        WriteError: no permission, a full disk and the like, here or while the folder is filled.
        TinyLMError: another file could not be read while it was filled.
    """
    with user_errors(target):
        place = _resolved(target)
        if place in (Path.cwd(), *Path.cwd().parents):
            raise WriteError(f"{printable(target)}: the working folder is in it, so it is not replaced; give another")
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_sibling(place)
        temporary.mkdir(mode=0o700 if private else 0o777)
    try:
        with user_errors(target):
            yield temporary
            _finish(temporary, place, private, durable)
            aside = _aside(place)
            if replace and place.exists():
                shutil.rmtree(aside, ignore_errors=True)
                place.rename(aside)
            temporary.rename(place)
            if durable:
                _flush_folder(place.parent)
            shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        recover_folder(place)
        raise


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` to write to; at a clean exit it takes that name, otherwise it is removed.

    Args:
        target: the file's place; folders above it are made.

    Raises:
        WriteError: no permission, a full disk and the like.
    """
    with user_errors(target):
        place = _resolved(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_sibling(place)
    try:
        with user_errors(target):
            yield temporary
            if place.exists():
                temporary.chmod(stat.S_IMODE(place.stat().st_mode))
            _flush_file(temporary)
            temporary.replace(place)
    except BaseException:
        _forget(temporary)
        raise


def recover_folder(target: Path) -> None:
    """Put back what `new_folder` had moved aside when its process was killed before the new folder was in place.

    Raises:
        WriteError: it cannot be renamed.
    """
    place = Path(os.path.realpath(target))
    if not place.exists() and _aside(place).is_dir():
        with user_errors(target):
            _aside(place).rename(place)


def remove_folder(path: Path) -> None:
    """Remove a folder, at once by its name, so that nobody finds half of it. A symbolic link to it stays.

    Raises:
        WriteError: it cannot be removed.
    """
    with user_errors(path):
        place = _resolved(path)
        aside = _temporary_sibling(place)
        place.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` that is removed at the end.

    Raises:
        WriteError: no permission, a full disk and the like.
    """
    with user_errors(parent):
        folder = _temporary_sibling(parent / "folder")
        folder.mkdir()
    try:
        with user_errors(parent):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a one-line error.

    Raises:
        WriteError: `path`, or something in it, cannot be written.
        TinyLMError: another file, which the OSError names, cannot be read.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error.filename, str) and not _belongs_to(path, Path(error.filename)):
            raise TinyLMError(f"{printable(error.filename)}: cannot be read ({reason})") from None
        raise WriteError(f"{printable(_final(path))}: cannot be written ({reason})") from None


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of reading a file into a one-line error.

    Raises:
        TinyLMError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise TinyLMError(f"{printable(path)}: cannot be read ({error.strerror or error})") from None


def _resolved(path: Path) -> Path:
    """Where a symbolic link leads, absolute; the file or folder need not be there.

    Raises:
        OSError: the link leads in a circle.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return place


def _write_temporary(target: Path, data: bytes, private: bool) -> Path:
    """Write a temporary file beside the target, with the mode that the target is to have."""
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    temporary = _temporary_sibling(target)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o600 if private or mode is not None else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
    except BaseException:
        _forget(temporary)
        raise
    return temporary


def _forget(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _finish(temporary: Path, place: Path, private: bool, durable: bool) -> None:
    """Give a filled folder and its files their modes, and write them out."""
    for path in (*temporary.rglob("*"), temporary):
        if durable and path.is_file():
            _flush_file(path)
        replaced = place / path.relative_to(temporary)
        if private:
            path.chmod(0o700 if path.is_dir() else 0o600)
        elif replaced.exists() and replaced.is_dir() == path.is_dir():
            path.chmod(stat.S_IMODE(replaced.stat().st_mode))


def _flush_file(path: Path) -> None:
    # Windows flushes only what is open for writing. A file that this process may not write is a link to an earlier one
    with suppress(PermissionError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_folder(path: Path) -> None:
    # Windows opens no folders, and some file systems flush none: a rename is durable enough there
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.replaced")


def _final(path: Path) -> Path:
    """The path with the names that its temporary parts will have."""
    return Path(*(_TEMPORARY.sub(r"\1", part) for part in path.parts))


def _belongs_to(path: Path, named: Path) -> bool:
    """Whether a path that an error names is the one that is written, in it or above it."""
    named = _final(Path(os.path.abspath(named)))  # noqa: PTH100 - a link is not to be followed
    for whole in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):  # noqa: PTH100
        final = _final(whole)
        if named == final or final in named.parents or named in final.parents:
            return True
    return False
