"""A lock that lets one process at a time train in a run folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tinylm.errors import RunError
from tinylm.file_lock import LockedError, file_lock
from tinylm.files import remove_folder, user_errors
from tinylm.manifest import TOKENIZER_FILES
from tinylm.run_folder import RunFolder

_PARTS = {
    "config.toml",
    *TOKENIZER_FILES,
    "chat_format.json",
    "imported.json",
    "provenance.json",
    "metrics.jsonl",
    "checkpoints",
    "val",
    ".lock",
}
_STALE_SECONDS = 600.0


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run's lock; the operating system releases it when the process ends.

    Raises:
        RunError: another process holds it.
        WriteError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            with user_errors(run.path):
                stack.enter_context(file_lock(run.path / ".lock"))
        except LockedError:
            raise RunError(f"{run.path}: another process is training this run") from None
        yield


def remove_abandoned(run: RunFolder) -> None:
    """Remove the folder of a process that was killed before its first checkpoint: no training can resume from it.

    Raises:
        RunError: the process is still running.
        WriteError: the folder cannot be removed.
    """
    place = run.path.resolve()
    for temporary in place.parent.glob(f".{place.name}.*.tmp"):
        if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(temporary, ignore_errors=True)
    if not run.config.is_file() or not run.checkpoints.is_dir():
        return
    if any(path.name not in _PARTS for path in run.path.iterdir()):
        return
    # A checkpoint that was moved aside has a name with a dot too
    if all(path.name.endswith(".tmp") for path in run.checkpoints.iterdir()):
        with locked(run):
            remove_folder(run.path)
