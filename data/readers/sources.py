"""A file's bytes: what can be opened, and decompression by what is in the file, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import stat
import zlib
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path, PurePath
from typing import IO, Any, Protocol

from tinylm.errors import DataError
from tinylm.installation import install_command

CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 16
_COMPRESSIONS = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
_REFUSED = {
    b"PK\x03\x04": "is a ZIP archive or an office document; unpack it, or save the table as CSV",
    b"\xd0\xcf\x11\xe0": "is an office document; save its text as .txt, or its table as CSV",
    b"%PDF-": "is a PDF; save its text as .txt",
    b"SQLite format 3\0": "is a database; export the table as CSV",
    b"ARROW1": "is an Arrow file; save it as Parquet",
    b"Rar!": "is an archive; unpack it",
    b"7z\xbc\xaf\x27\x1c": "is an archive; unpack it",
}
_TAR_MARK = slice(257, 262)


def iter_bytes(path: str | PathLike[str]) -> Iterator[bytes]:
    """The bytes of a regular file in chunks, unpacked where gzip, bzip2, xz or zstd packed them.

    Raises:
        DataError: the file cannot be opened or unpacked, or is of a kind that holds no text.
    """
    try:
        check_regular(path)
        with _open(path, compression_of(path)) as file:
            chunk = file.read(CHUNK_BYTES)
            _refuse_other_kinds(path, chunk)
            while chunk:
                yield chunk
                chunk = file.read(CHUNK_BYTES)
    except FileNotFoundError:
        raise DataError(path, None, "no such file; check the path") from None
    except PermissionError:
        raise DataError(path, None, "no permission to read it; change its permissions") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(path, None, f"cannot be unpacked ({_one_line(error)}); is it cut short?") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read ({error.strerror or _one_line(error)}); check the path") from None
    except ValueError as error:
        raise DataError(path, None, f"cannot be a path ({error}); check it") from None


def check_regular(path: str | PathLike[str]) -> None:
    """Refuse what is no regular file.

    Raises:
        DataError: it is a folder, a pipe or the like.
        OSError: it cannot be looked at.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError(path, None, "is a directory; give a file in it")
    # Some readers go over a file twice, which a pipe does not allow.
    if not stat.S_ISREG(mode):
        raise DataError(path, None, "is not a regular file; save the data to one and give that")


def compression_of(path: str | PathLike[str]) -> str | None:
    """How a file is packed: gzip, bzip2, xz or zstd, or None; None also where it cannot be opened."""
    return _compression_by(head_of(path))


def head_of(path: str | PathLike[str]) -> bytes:
    """The first bytes of a regular file; none where it cannot be opened."""
    try:
        check_regular(path)
        with Path(path).open("rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError, DataError):
        return b""


def inner_suffix(path: str | PathLike[str]) -> str:
    """The ending of a file's name in lower case, without that of its packing: `.jsonl` of `chats.JSONL.gz`."""
    name = PurePath(fspath(path))
    return PurePath(name.stem if name.suffix.lower() in _SUFFIXES else name.name).suffix.lower()


def _compression_by(head: bytes) -> str | None:
    return next((name for mark, name in _COMPRESSIONS.items() if head.startswith(mark)), None)


def _open(path: str | PathLike[str], compression: str | None) -> _Source:
    match compression:
        case "gzip":
            return gzip.open(path, "rb")
        case "bzip2":
            return bz2.open(path, "rb")
        case "xz":
            return lzma.open(path, "rb")
        case "zstd":
            return _open_zstd(path)
        case _:
            return Path(path).open("rb")


def _open_zstd(path: str | PathLike[str]) -> _Source:
    zstd = optional_module(path, ("compression.zstd", "backports.zstd"), "zstd")
    try:
        file: IO[bytes] = zstd.open(path, "rb")
    except zstd.ZstdError as error:
        raise EOFError(error) from None
    return _ZstdFile(file, zstd.ZstdError)


class _Source(Protocol):
    """What is read from."""

    def read(self, size: int, /) -> bytes: ...

    def __enter__(self) -> _Source: ...

    def __exit__(self, *details: Any) -> None: ...


class _ZstdFile:
    """A zstd file whose own kind of error is one that callers know without the module."""

    def __init__(self, file: IO[bytes], error: type[Exception]) -> None:
        self._file, self._error = file, error

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except self._error as error:
            raise EOFError(error) from None

    def __enter__(self) -> _ZstdFile:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()


def optional_module(path: str | PathLike[str], names: tuple[str, ...], extra: str) -> Any:
    """The first of these modules that is installed.

    Raises:
        DataError: none is; its message names the extra that brings it.
    """
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise DataError(path, None, f"to read it, install what it needs: {install_command(extra)}")


def _refuse_other_kinds(path: str | PathLike[str], head: bytes) -> None:
    for mark, problem in _REFUSED.items():
        if head.startswith(mark):
            raise DataError(path, None, problem)
    if head[_TAR_MARK] == b"ustar":
        raise DataError(path, None, "is a tar archive; unpack it and give a file of it")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
