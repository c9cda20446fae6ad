"""Event files for TensorBoard: the scalars of `metrics.jsonl`, and samples as text."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar, text

from tinylm.evaluation import Score
from tinylm.run_folder import RunFolder, StageName
from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample

# Tells the files of one process apart; TensorBoard reads them in the order of their names
_NUMBERS = count()


class TensorBoardCallback(TrainingCallback):
    """Writes event files for TensorBoard; steps are counted through both stages.

    Args:
        folder: to write into; by default `tensorboard` in the run folder. TensorBoard hides what an earlier process
            wrote there after its last checkpoint.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._plan: Mapping[StageName, int] = {}
        self._events: _EventFile | None = None

    def on_start(self, run: RunFolder) -> None:
        """Choose the folder."""
        self._folder = self._folder or run.tensorboard

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Remember the number of steps of each stage."""
        self._plan = plan

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:  # noqa: ARG002
        """Open the first file."""
        if self._events is None:
            self.on_rollback(stage, step)

    def on_step(self, report: StepReport) -> None:
        """Write loss, learning rate and speed."""
        values = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "tokens_per_second": report.tokens_per_second,
        }
        if report.utilization is not None:
            values["utilization"] = report.utilization
        self._add_scalars(report.stage, report.step, values)

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:  # noqa: ARG002
        """Write loss and bits per byte on held-out data."""
        self._add_scalars(stage, step, {"validation_loss": score.loss, "bits_per_byte": score.bits_per_byte})

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:
        """Write samples as text."""
        titled = [(f"{stage}/sample {sample.prompt}".strip(), sample.text) for sample in samples]
        self._add(stage, step, [text(title, said) for title, said in titled])  # type: ignore[no-untyped-call]

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Continue in another file, which hides the later steps of earlier files."""
        assert self._folder is not None, "a run starts before its stages"
        self.close()
        self._events = _EventFile(self._folder, self._global(stage, step) + 1)

    def close(self) -> None:
        """Close the file."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _add_scalars(self, stage: StageName, step: int, values: Mapping[str, float]) -> None:
        tagged = [(f"{stage}/{name}", value) for name, value in values.items()]
        self._add(stage, step, [scalar(tag, value) for tag, value in tagged])  # type: ignore[no-untyped-call]

    def _add(self, stage: StageName, step: int, summaries: Sequence[Summary]) -> None:
        assert self._events is not None, "a stage starts before its steps"
        self._events.add(summaries, self._global(stage, step))

    def _global(self, stage: StageName, step: int) -> int:
        return step + (self._plan.get("pretrain", 0) if stage == "finetune" else 0)


class _EventFile:
    """A file of events, written at once: the threads of `SummaryWriter` end in a traceback on a full disk.

    Args:
        folder: where to make the file.
        first_step: events of earlier files with this step or a later one are hidden.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS):04}"
        self._file = (folder / name).open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, summaries: Sequence[Summary], step: int) -> None:
        """Write the summaries of a step."""
        for summary in summaries:
            self._write(Event(step=step, summary=summary))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._file.flush()
