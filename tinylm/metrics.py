"""`metrics.jsonl` of a run folder: a line a step, or every few of them, and a line a validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinylm.files import user_errors, write_file


def append_metrics(path: Path, **values: Any) -> None:
    """Add a line.

    Raises:
        TinyLMError: the file cannot be written.
    """
    with user_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def trim_metrics(path: Path, stages: Sequence[str], stage: str, step: int) -> None:
    """Forget what an earlier process logged after its last checkpoint: it is about to happen again.

    Args:
        path: the file; there may be none.
        stages: names of the run's stages, in order.
        stage: in which the last checkpoint was made.
        step: after which.

    Raises:
        TinyLMError: the file cannot be written.
    """
    if not path.exists():
        return
    kept: list[str] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            values = json.loads(line)
            where = (stages.index(values["stage"]), values["step"])
        except (ValueError, KeyError):
            continue  # the half-written last line of a killed process
        if where <= (stages.index(stage), step):
            kept.append(line + "\n")
    write_file(path, "".join(kept))
