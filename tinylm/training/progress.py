"""Progress of a training, printed as lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tinylm.evaluation import Score
from tinylm.printable import printable
from tinylm.report.advice import Smoothing
from tinylm.run_folder import STAGE_TITLES, StageName
from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample

_QUIET_SECONDS = 60.0


@dataclass
class StageProgress:
    """The progress of one stage.

    Attributes:
        name: the stage.
        first: the step after which this process began.
        steps: the steps of the stage.
        last: the last step.
        validation, best: the last and the best validation.
    """

    name: StageName
    first: int
    steps: int
    last: StepReport | None = None
    validation: Score | None = None
    best: Score | None = None

    def __post_init__(self) -> None:
        self.restart(self.first)

    def restart(self, step: int) -> None:
        """Begin again after a step, and forget the later ones."""
        self.first, self.last, self.started = step, None, time.monotonic()
        self._smoothing = Smoothing(self.steps)

    def add_step(self, report: StepReport) -> None:
        """Take in the figures of a step."""
        self.last = report
        self._smoothing.add(report.loss)

    def add_validation(self, score: Score, is_best: bool) -> None:
        """Take in a validation."""
        self.validation = score
        if is_best or self.best is None:
            self.best = score

    @property
    def loss(self) -> float:
        """The smoothed training loss in nats a token; 0 before the first step."""
        return self._smoothing.value

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return self.last.step if self.last is not None else self.first

    @property
    def seconds(self) -> float:
        """Seconds since the stage began in this process."""
        return time.monotonic() - self.started


class ProgressTracker(TrainingCallback):
    """Base class of displays: follows the progress of the current stage.

    Attributes:
        stage: the current stage.
    """

    def __init__(self) -> None:
        self._plan: Mapping[StageName, int] = {}
        self.stage = StageProgress("pretrain", 0, 0)

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Remember the number of steps; that of a stage may change while it goes on."""
        self._plan = dict(plan)
        if self.stage.steps:
            self.stage.steps = self._plan[self.stage.name]

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """Follow another stage."""
        self.stage = StageProgress(stage, step, steps)

    def on_step(self, report: StepReport) -> None:
        """Follow."""
        self.stage.add_step(report)

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:  # noqa: ARG002
        """Follow."""
        self.stage.add_validation(score, is_best)

    def on_rollback(self, stage: StageName, step: int) -> None:  # noqa: ARG002
        """Follow."""
        self.stage.restart(step)

    @property
    def later_steps(self) -> int:
        """Steps of the stages after the current one."""
        names, now = list(self._plan), self.stage.name
        return sum(self._plan[name] for name in names[names.index(now) + 1 :]) if now in names else 0

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the run at the pace of the current stage; None in its first moments."""
        stage = self.stage
        taken = stage.step - stage.first
        if taken < 3 or stage.seconds < 2:
            return None
        return (stage.steps - stage.step + self.later_steps) * stage.seconds / taken


class ProgressLines(ProgressTracker):
    """Prints a line for each message, stage, validation and sample, and at least one a minute.

    Args:
        write: prints a line; by default to standard output.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._write_line = write or _print
        self._written = time.monotonic()

    def on_message(self, message: str) -> None:
        """Print it."""
        self._write(message)

    def on_warning(self, message: str) -> None:
        """Print it."""
        self._write(f"Note: {message}")

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """Print the number of steps."""
        super().on_stage_start(stage, step, steps)
        self._write(f"{STAGE_TITLES[stage]}: {steps:,} steps" + (f", from step {step:,}" if step else ""))

    def on_step(self, report: StepReport) -> None:
        """Print the step where no line was printed for a minute."""
        super().on_step(report)
        if time.monotonic() - self._written > _QUIET_SECONDS:
            self._write(self._step_line())

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:
        """Print the step and the score."""
        super().on_validation(stage, step, score, is_best)
        self._write(
            f"{self._step_line()}  validation {score.loss:6.3f}  bits/byte {score.bits_per_byte:6.4f}"
            f"{'  best' if is_best else ''}"
        )

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:  # noqa: ARG002
        """Print each."""
        for sample in samples:
            prompt, text = one_line(sample.prompt), one_line(sample.text)
            self._write(f"{stage:>9} sample {f'{prompt} → ' if prompt else ''}{text or '(nothing)'}")

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Print where training continues."""
        super().on_rollback(stage, step)
        self._write(f"{stage:>9} continues after step {step:,}")

    def _write(self, line: str) -> None:
        self._written = time.monotonic()
        self._write_line(printable(line))

    def _step_line(self) -> str:
        stage, left = self.stage, self.seconds_left
        speed = stage.last.tokens_per_second if stage.last is not None else 0.0
        return (
            f"{stage.name:>9} step {stage.step:>6,}  loss {stage.loss:6.3f}  {speed:>8,.0f} tokens/s"
            f"{'' if left is None else f'  {clock(left)} left'}"
        )


def one_line(text: str) -> str:
    """Text in one line; control characters, which could move the cursor of a terminal, become spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds or hours:minutes:seconds."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _print(line: str) -> None:
    # What the stream cannot show must not end a training
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = line.encode(encoding, "replace").decode(encoding)
    print(line, flush=True)  # noqa: T201 - the progress that the caller of `train` reads
