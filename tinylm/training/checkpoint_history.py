"""Earlier checkpoints of a run: kept a few at a time, for a rollback, or for when the last one cannot be read."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from tinylm.errors import RunError
from tinylm.files import new_folder, remove_folder
from tinylm.run_folder import RunFolder, StageName, TrainState, load_state
from tinylm.training.checkpoint import check_checkpoint

_NAME = re.compile(rf"({'|'.join(get_args(StageName))})-(\d+)")


def kept_checkpoints(run: RunFolder) -> list[Path]:
    """The earlier checkpoints of a run, oldest first: folders named by stage and step."""
    stages = list(get_args(StageName))
    found: list[tuple[int, int, Path]] = []
    for path in run.checkpoints.glob("*-*"):
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append((stages.index(match[1]), int(match[2]), path))
    return [path for *_, path in sorted(found)]


def keep_checkpoint(run: RunFolder, state: TrainState, count: int) -> None:
    """Keep what `last` holds as one of the `count` earlier checkpoints; it takes no space while `last` is the same.

    Raises:
        TinyLMError: it cannot be written.
    """
    target = run.checkpoints / f"{state.stage}-{state.step:06}"
    if count:
        _copy(run.checkpoint("last"), target)
    for path in kept_checkpoints(run)[: -count or None]:
        remove_folder(path)


def restore_checkpoint(run: RunFolder, kept: Path) -> None:
    """Make an earlier checkpoint the last one.

    Raises:
        TinyLMError: it cannot be written.
    """
    _copy(kept, run.checkpoint("last"))


def checkpoint_to_go_back_to(run: RunFolder, stage: StageName, gone_back_to: int | None) -> Path | None:
    """The newest earlier checkpoint of a stage; should training have gone back to it before, the one before that.

    Args:
        run: whose checkpoints.
        stage: that diverged.
        gone_back_to: the step that the last rollback went to.

    Raises:
        TinyLMError: a checkpoint cannot be removed.
    """
    kept = [path for path in kept_checkpoints(run) if path.name.startswith(f"{stage}-")]
    if len(kept) > 1 and load_state(kept[-1]).step == gone_back_to:
        remove_folder(kept.pop())  # from there it went wrong again
    return kept[-1] if kept else None


def make_last_readable(run: RunFolder, notify: Callable[[str], None]) -> None:
    """Where the last checkpoint is broken, put the newest earlier one that is whole in its place.

    Args:
        run: the run to go on with.
        notify: told if it had to be.

    Raises:
        RunError: none is whole.
    """
    try:
        check_checkpoint(run.checkpoint("last"))
    except RunError as broken:
        for kept in reversed(kept_checkpoints(run)):
            try:
                check_checkpoint(kept)
            except RunError:
                continue
            notify(f"{broken}; going on from {kept.name}, the newest checkpoint before it")
            restore_checkpoint(run, kept)
            return
        raise


def _copy(source: Path, target: Path) -> None:
    with new_folder(target) as temporary:
        for file in source.iterdir():
            try:
                os.link(file, temporary / file.name)
            except OSError:  # a file system without hard links
                shutil.copyfile(file, temporary / file.name)
