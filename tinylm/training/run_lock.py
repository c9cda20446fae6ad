"""One process at a time trains in a run folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from tinylm.errors import RunError
from tinylm.files import user_errors
from tinylm.run_folder import RunFolder

_PARTS = {"config.toml", "tokenizer.model", "provenance.json", "metrics.jsonl", "checkpoints", "val", ".lock"}
_STALE_SECONDS = 600.0


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run's lock, which the operating system takes back from a process that dies.

    Raises:
        RunError: another process holds it.
        TinyLMError: the folder cannot be written.
    """
    lock = FileLock(run.path / ".lock", timeout=0)
    with user_errors(run.path):
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"{run.path}: another process is training this run") from None
    try:
        yield
    finally:
        lock.release()


def remove_abandoned(run: RunFolder) -> None:
    """Remove what a process left that was killed before its first checkpoint: nothing can go on from there.

    Raises:
        RunError: that process is still at it.
    """
    for temporary in run.path.parent.glob(f".{run.path.name}.*.tmp"):
        if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(temporary, ignore_errors=True)
    if not run.config.is_file() or not run.checkpoints.is_dir():
        return
    if any(path.name not in _PARTS for path in run.path.iterdir()):
        return
    # A checkpoint that was moved aside has a name with a dot too
    if all(path.name.endswith(".tmp") for path in run.checkpoints.iterdir()):
        with locked(run):
            shutil.rmtree(run.path, ignore_errors=True)
