"""A disk that is full at any chosen moment."""

import errno
import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_ROOM = 16
_TAKE_ROOM = {"os.mkdir", "os.rename", "os.link"}


class FullDisk:
    """Counts the operations that take room on the disk below a folder, and lets one or more of them fail.

    Operations are: opening a file for writing, mkdir, rename or replace, link, fsync.

    Args:
        folder: what lies elsewhere is not counted.
        number: the operation that fails, from 1; 0: none.
        stays: whether all later ones fail too.
        cuts: count only files that are opened; the one succeeds, but from then on no file grows past some bytes.
    """

    def __init__(self, folder, number=0, *, stays=False, cuts=False):
        self.folder, self.number, self.stays, self.cuts = Path(folder).resolve(), number, stays, cuts
        self.count = 0
        self.failed = []

    def happen(self, what, path, target=None):
        """Count an operation; it fails if it is its turn."""
        if path is not None and not (Path.cwd() / os.fsdecode(target or path)).is_relative_to(self.folder):
            return
        if self.cuts and what != "open":
            return
        self.count += 1
        if not self.number or self.count < self.number or (self.count > self.number and not self.stays):
            return
        names = [name and os.fsdecode(name) for name in (path, target)]
        self.failed.append((what, names[1] or names[0]))
        if self.cuts:
            _limit_files(_ROOM)
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), names[0], None, names[1])


_now = None


def _audit(event, arguments):
    if _now is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and isinstance(flags, int) and flags & _WRITING:
            _now.happen("open", path)
    elif event in _TAKE_ROOM:
        _now.happen(event, *arguments[: 1 if event == "os.mkdir" else 2])


sys.addaudithook(_audit)


def _limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def full_disk(folder, number=0, *, stays=False, cuts=False):
    """Let the disk fill up while the body runs; see `FullDisk`."""
    global _now
    disk = FullDisk(folder, number, stays=stays, cuts=cuts)
    fsync = os.fsync

    def counted_fsync(descriptor):
        disk.happen("fsync", None)  # a process that ends in a test needs no more

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.fsync = counted_fsync
    _now = disk
    try:
        yield disk
    finally:
        _now = None
        os.fsync = fsync
        _limit_files(resource.RLIM_INFINITY)
        signal.signal(signal.SIGXFSZ, handler)


def every_full_disk(folder, **options):
    """A context for each operation of the body that can fail, until one more operation would be none of its."""
    number = 0
    while True:
        number += 1
        yield (context := _Recorded(full_disk(folder, number, **options)))
        if not context.disk.failed:
            return


class _Recorded:
    """A context that remembers its disk."""

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        self.disk = self.context.__enter__()
        return self.disk

    def __exit__(self, *details):
        return self.context.__exit__(*details)
