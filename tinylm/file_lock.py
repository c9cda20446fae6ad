"""A lock for what several processes may change."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinylm.errors import TinyLMError

_POLL_SECONDS = 0.05
_SILENT_SECONDS = 1.0
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class LockedError(TinyLMError):
    """Another process holds the lock."""


@contextmanager
def file_lock(path: Path, seconds: float = 0.0, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock; the operating system takes it back from a process that dies.

    On a file system without locks, nothing is locked.

    Args:
        path: a file for the lock alone, made for it and removed afterwards.
        seconds: how long to wait while another process holds the lock.
        waiting: called once if that takes longer than a second.

    Raises:
        LockedError: another process held the lock all the time.
        OSError: the file cannot be made.
    """
    descriptor = _acquire(path, seconds, waiting)
    try:
        yield
    finally:
        _release(path, descriptor)


def _acquire(path: Path, seconds: float, waiting: Callable[[], None]) -> int:
    started = time.monotonic()
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _try_lock(descriptor) and _is_open_file(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        waited = time.monotonic() - started
        if waited >= seconds:
            raise LockedError(f"{path}: locked by another process")
        if waited >= _SILENT_SECONDS and not told:
            waiting()
            told = True
        time.sleep(_POLL_SECONDS)


def _is_open_file(path: Path, descriptor: int) -> bool:
    """Whether the file of that name is still the open one: who held the lock before has removed its file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _release(path: Path, descriptor: int) -> None:
    if os.name == "nt":  # where an open file cannot be removed, also if another process has it open
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()
        return
    with suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone; False where another process has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
