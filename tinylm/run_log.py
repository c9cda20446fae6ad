"""`metrics.jsonl`, the log of a run: steps, validations, samples and events, a JSON object a line, in ASCII."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import msgspec

from tinylm.errors import TinyLMError
from tinylm.files import append_line, read_errors, write_file
from tinylm.printable import json_text
from tinylm.run_folder import StageName


class Line(msgspec.Struct, frozen=True):
    """Base of all lines: the stage, and the step after which the line was written."""

    stage: StageName
    step: int


class StepLine(Line, frozen=True):
    """A logged step; `seconds` is the time of training so far, without validations. Not every step is logged."""

    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds: float
    utilization: float | None = None


class ValidationLine(Line, frozen=True):
    """A validation; `best` is True for the best of its stage so far."""

    validation_loss: float
    bits_per_byte: float
    best: bool = False


class SampleLine(Line, frozen=True):
    """A sample of the model's text after a step."""

    prompt: str
    sample: str


class EventLine(Line, frozen=True):
    """An event of the run: started, resumed, stopped, finished, failed and others; `time` is ISO 8601."""

    event: str
    time: str = ""
    details: dict[str, Any] = {}


@dataclass
class RunLog:
    """The log of a run, in order."""

    steps: list[StepLine] = field(default_factory=list)
    validations: list[ValidationLine] = field(default_factory=list)
    samples: list[SampleLine] = field(default_factory=list)
    events: list[EventLine] = field(default_factory=list)

    def stages(self) -> list[StageName]:
        """The stages with at least one line, in order."""
        lines: tuple[Line, ...] = (*self.steps, *self.validations, *self.events)
        return [name for name in get_args(StageName) if any(line.stage == name for line in lines)]

    def of_stage(self, stage: StageName) -> RunLog:
        """The log of one stage."""
        return RunLog(
            [line for line in self.steps if line.stage == stage],
            [line for line in self.validations if line.stage == stage],
            [line for line in self.samples if line.stage == stage],
            [line for line in self.events if line.stage == stage],
        )


class RunLogWriter:
    """Writes the log of a run. A line that cannot be written is left out, and training continues.

    Args:
        path: the file.
        notify: receives a line the first time that the file cannot be written.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.path = path
        self._notify = notify
        self._has_failed = False

    def append(self, **values: Any) -> None:
        """Add a line."""
        self._try(lambda: append_metrics(self.path, **values))

    def append_event(self, stage: StageName, step: int, event: str, **details: Any) -> None:
        """Add the line of an event, with the time of day."""
        self._try(lambda: append_event(self.path, stage, step, event, **details))

    def trim(self, stages: Sequence[str], stage: str, step: int) -> None:
        """Remove what was logged after a step; see `trim_metrics`."""
        self._try(lambda: trim_metrics(self.path, stages, stage, step))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except TinyLMError as error:
            if not self._has_failed:
                self._notify(f"{error}; training continues, and the log lacks some lines")
            self._has_failed = True


def append_metrics(path: Path, **values: Any) -> None:
    """Add a line.

    Raises:
        WriteError: the file cannot be written.
    """
    append_line(path, json_text(values))


def append_event(path: Path, stage: StageName, step: int, event: str, **details: Any) -> None:
    """Add the line of an event, with the time of day.

    Raises:
        WriteError: the file cannot be written.
    """
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    append_metrics(path, stage=stage, step=step, event=event, time=time, details=details)


def read_metrics(path: Path) -> RunLog:
    """Read a log, also while it is being written; broken and unknown lines are skipped.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    log = RunLog()
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                values = json.loads(line)
                if "event" in values:
                    log.events.append(msgspec.convert(values, EventLine))
                elif "sample" in values:
                    log.samples.append(msgspec.convert(values, SampleLine))
                elif "validation_loss" in values:
                    log.validations.append(msgspec.convert(values, ValidationLine))
                else:
                    log.steps.append(msgspec.convert(values, StepLine))
            except (ValueError, TypeError):
                continue
    return log


def trim_metrics(path: Path, stages: Sequence[str], stage: str, step: int) -> None:
    """Remove the lines that an earlier process logged after its last checkpoint, because those steps are taken again.

    Args:
        path: the file; it may be missing.
        stages: names of the run's stages, in order.
        stage: stage of the last checkpoint.
        step: step of the last checkpoint.

    Raises:
        TinyLMError: the file cannot be read or written.
    """
    if not path.exists():
        return
    kept: list[str] = []
    with read_errors(path):
        text = path.read_text("utf-8", "replace")
    for line in text.splitlines():
        try:
            values = json.loads(line)
            where = (stages.index(values["stage"]), values["step"])
        except (ValueError, KeyError, TypeError):
            continue  # the half-written last line of a killed process
        if where <= (stages.index(stage), step):
            kept.append(line + "\n")
    if "".join(kept) != text:
        write_file(path, "".join(kept))
