"""Earlier checkpoints of a run, kept for a rollback and in case the last one cannot be read."""

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
    """List the earlier checkpoints of a run, oldest first: folders named by stage and step."""
    stages = list(get_args(StageName))
    found: list[tuple[int, int, Path]] = []
    for path in run.checkpoints.glob("*-*"):
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append((stages.index(match[1]), int(match[2]), path))
    return [path for *_, path in sorted(found)]


def keep_checkpoint(run: RunFolder, state: TrainState, count: int) -> None:
    """Keep a copy of the last checkpoint, by hard links, and delete all but the newest `count` copies.

    Raises:
        TinyLMError: the copy cannot be written.
    """
    target = run.checkpoints / f"{state.stage}-{state.step:06}"
    if count:
        _copy(run.checkpoint("last"), target)
    for path in kept_checkpoints(run)[: -count or None]:
        remove_folder(path)


def restore_checkpoint(run: RunFolder, kept: Path) -> None:
    """Make an earlier checkpoint the last one.

    Raises:
        TinyLMError: the checkpoint cannot be written.
    """
    _copy(kept, run.checkpoint("last"))


def checkpoint_to_go_back_to(run: RunFolder, stage: StageName, gone_back_to: int | None) -> Path | None:
    """Choose the checkpoint of a rollback: the newest of the stage, or the one before if it was used already.

    Args:
        run: the run.
        stage: the stage that diverged.
        gone_back_to: the step of the last rollback in this stage.

    Returns:
        the checkpoint's folder, or None where the stage has none.

    Raises:
        TinyLMError: a checkpoint cannot be removed.
    """
    kept = [path for path in kept_checkpoints(run) if path.name.startswith(f"{stage}-")]
    if len(kept) > 1 and load_state(kept[-1]).step == gone_back_to:
        remove_folder(kept.pop())  # training diverged again from there
    return kept[-1] if kept else None


def make_last_readable(run: RunFolder, notify: Callable[[str], None]) -> None:
    """Replace a broken last checkpoint by the newest earlier one that is whole.

    Args:
        run: the run to continue.
        notify: receives a line if the last checkpoint was replaced.

    Raises:
        RunError: no checkpoint is whole.
    """
    try:
        check_checkpoint(run.checkpoint("last"))
    except RunError as broken:
        for kept in reversed(kept_checkpoints(run)):
            try:
                check_checkpoint(kept)
            except RunError:
                continue
            notify(f"{broken}; continuing from {kept.name}, the newest checkpoint before it")
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
