"""The value of `train`: a run, finished or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinylm.run_folder import RunFolder, StageName, TrainState
from tinylm.run_log import ValidationLine, read_metrics


@dataclass(frozen=True)
class TrainedRun:
    """A run after `train`. It can be used wherever a path is expected.

    Attributes:
        folder: the run folder.
        state: the state of the last checkpoint: stage, step, time, tokens.
        scores: the last validation of each stage that was validated.
    """

    folder: RunFolder
    state: TrainState
    scores: Mapping[StageName, ValidationLine] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The path of the run folder."""
        return self.folder.path

    @property
    def finished(self) -> bool:
        """Whether all steps were taken; if not, `train(resume=run)` continues."""
        return self.state.finished

    def __fspath__(self) -> str:
        return str(self.path)


def last_scores(run: RunFolder) -> dict[StageName, ValidationLine]:
    """The last validation of each stage, as far as the log can be read."""
    try:
        return {line.stage: line for line in read_metrics(run.metrics).validations}
    except OSError:
        return {}
