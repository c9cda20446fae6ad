"""Files and folders that are there complete or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinylm.errors import TinyLMError


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary sibling, so that an earlier one stays whole until the new one is.

    Raises:
        TinyLMError: no permission, a full disk and the like.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with user_errors(path):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling to fill; at a clean exit it takes the place of `target`, else it is removed.

    An existing `target` is moved aside first and deleted last: `recover_folder` finds it again should the process
    be killed between the two renames.

    Raises:
        TinyLMError: no permission, a full disk and the like, here or while it is filled.
    """
    with user_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        temporary.chmod(0o755)
        with user_errors(target):
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    _fsync(path)
            replaced = _aside(target)
            if target.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                target.rename(replaced)
            temporary.rename(target)
            _fsync(target.parent)
            shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        recover_folder(target)
        raise


def recover_folder(target: Path) -> None:
    """Put back what `new_folder` had moved aside when its process was killed before the new folder was in place."""
    if not target.exists() and _aside(target).is_dir():
        _aside(target).rename(target)


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into a one-line error that names the path."""
    try:
        yield
    except OSError as error:
        raise TinyLMError(f"{path}: cannot be written ({error.strerror or error})") from None


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders; its rename is durable enough for our purpose
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
