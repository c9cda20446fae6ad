"""`metrics.jsonl` of a run folder: lines of steps, validations, samples and events, one JSON object each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import msgspec

from tinylm.files import user_errors, write_file
from tinylm.run_folder import StageName


class Line(msgspec.Struct, frozen=True):
    """What every line says: the stage, and the step after which it was written."""

    stage: StageName
    step: int


class StepLine(Line, frozen=True):
    """A step, or one of several; `seconds` is the time of training so far, without validations."""

    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds: float
    utilization: float | None = None


class ValidationLine(Line, frozen=True):
    """A validation; `best` says whether it was the best of its stage so far."""

    validation_loss: float
    bits_per_byte: float
    best: bool = False


class SampleLine(Line, frozen=True):
    """What the model said after a step."""

    prompt: str
    sample: str


class EventLine(Line, frozen=True):
    """What happened to the run: started, resumed, stopped, finished, failed and others; `time` is ISO 8601."""

    event: str
    time: str = ""
    details: dict[str, Any] = {}


@dataclass
class RunLog:
    """What a run has logged, in its order."""

    steps: list[StepLine] = field(default_factory=list)
    validations: list[ValidationLine] = field(default_factory=list)
    samples: list[SampleLine] = field(default_factory=list)
    events: list[EventLine] = field(default_factory=list)

    def stages(self) -> list[StageName]:
        """The stages that anything is known of, in order."""
        lines: tuple[Line, ...] = (*self.steps, *self.validations, *self.events)
        return [name for name in get_args(StageName) if any(line.stage == name for line in lines)]

    def of_stage(self, stage: StageName) -> RunLog:
        """What belongs to one stage."""
        return RunLog(
            [line for line in self.steps if line.stage == stage],
            [line for line in self.validations if line.stage == stage],
            [line for line in self.samples if line.stage == stage],
            [line for line in self.events if line.stage == stage],
        )


def append_metrics(path: Path, **values: Any) -> None:
    """Add a line.

    Raises:
        TinyLMError: the file cannot be written.
    """
    with user_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def append_event(path: Path, stage: StageName, step: int, event: str, **details: Any) -> None:
    """Add the line of an event, with the time of day.

    Raises:
        TinyLMError: the file cannot be written.
    """
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    append_metrics(path, stage=stage, step=step, event=event, time=time, details=details)


def read_metrics(path: Path) -> RunLog:
    """Read a log, also while it is being written; lines that are broken or of another kind are passed over.

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
