"""The live display of training; lines now and then where stderr is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tinylm.cli.console import notice, say
from tinylm.cli.display.sparkline import Course
from tinylm.evaluation import Score
from tinylm.report.advice import Smoothing
from tinylm.run_folder import RunFolder, StageName, TrainState
from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample

_WIDEST = 110
_REDRAWS_PER_SECOND = 4
_PLAIN_SECONDS = 60.0
_TITLES: dict[StageName, str] = {"pretrain": "pre-training", "finetune": "fine-tuning"}


class TrainingDisplay(TrainingCallback):
    """Shows stage, loss, validations, speed, time left and samples of the model.

    Args:
        console: to draw on; None for stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._plan: Mapping[StageName, int] = {}
        self._now = _StageView("pretrain", 0, 0)
        self._said = time.monotonic()
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._block,
                refresh_per_second=_REDRAWS_PER_SECOND,
                transient=True,
            )

    def on_message(self, message: str) -> None:
        """Print it above what is drawn."""
        say(message)

    def on_warning(self, message: str) -> None:
        """Print it above what is drawn."""
        notice(message)

    def on_end(self, run: RunFolder, state: TrainState, error: Exception | None) -> None:  # noqa: ARG002
        """Leave the terminal as it was, with a line on the stage."""
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was, with a line on the stage."""
        if self._live is not None and self._live.is_started:
            self._live.stop()
        self._close_stage()

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Remember how many steps there are in all."""
        self._plan = dict(plan)

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """A new bar."""
        self._close_stage()
        self._now = _StageView(stage, step, steps)
        if self._live is None:
            self._print(f"{_TITLES[stage]}: {steps:,} steps" + (f", from step {step:,}" if step else ""))
        elif not self._live.is_started:
            self._live.start()

    def on_step(self, report: StepReport) -> None:
        """Move the bar."""
        now = self._now
        now.smoothing.add(report.loss)
        now.last = report
        now.losses.add(report.step / report.steps, now.loss)
        if self._live is None and time.monotonic() - self._said > _PLAIN_SECONDS:
            self._print(self._plain_line())

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:  # noqa: ARG002
        """Show it; where nothing is drawn, as a line."""
        now = self._now
        now.validation = score
        now.bits.add(step / max(1, now.steps), score.bits_per_byte)
        if is_best or now.best is None:
            now.best = score
        if self._live is None:
            self._print(
                f"{self._plain_line()}  validation {score.loss:6.3f}  bits/byte {score.bits_per_byte:6.4f}"
                f"{'  best' if is_best else ''}"
            )

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:  # noqa: ARG002
        """Show the first; where nothing is drawn, all of them as lines."""
        self._now.sample = samples[0] if samples else None
        if self._live is None:
            for sample in samples:
                self._print(f"{stage:>9} says {_sample_text(sample).plain}")

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Go back with it."""
        self._now.back_to(step)
        if self._live is None:
            self._print(f"{stage:>9} goes on after step {step:,}")

    def _close_stage(self) -> None:
        """A line that stays of a stage that was drawn."""
        now = self._now
        if self._live is None or now.last is None:
            return
        figures = [f"{now.step:,} of {now.steps:,} steps in {_clock(now.seconds)}", f"loss {now.loss:.3f}"]
        if now.best is not None:
            figures.append(f"{now.best.bits_per_byte:.4f} bits/byte")
        self._print(f"{_TITLES[now.name]}: {', '.join(figures)}")
        now.last = None

    def _print(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(Text(line), soft_wrap=True)

    def _plain_line(self) -> str:
        now, left = self._now, self._seconds_left()
        speed = now.last.tokens_per_second if now.last is not None else 0.0
        return (
            f"{now.name:>9} step {now.step:>6,}  loss {now.loss:6.3f}  {speed:>8,.0f} tokens/s"
            f"{'' if left is None else f'  {_clock(left)} left'}"
        )

    def _block(self) -> RenderableType:
        """What is drawn: always as many lines, so that nothing jumps."""
        width = min(self._console.width, _WIDEST)
        head = Table.grid(padding=(0, 2))
        head.add_column(width=12, no_wrap=True)
        columns = max(8, width - 12 - 2 - 2 - 26)
        head.add_column(width=columns, no_wrap=True)
        head.add_column(width=26, no_wrap=True, overflow="ellipsis")
        now = self._now
        bar = ProgressBar(total=max(1, now.steps), completed=now.step, width=columns)
        head.add_row(Text(_TITLES[now.name], "bold"), bar, f"{now.step:,}/{now.steps:,} steps")
        head.add_row(self._label("loss"), self._line(now.losses, columns), f"{now.loss:.3f}" if now.last else "")
        head.add_row(self._label("held out"), self._line(now.bits, columns), _bits_text(now))
        foot = Table.grid(padding=(0, 2))
        foot.add_column(width=12, no_wrap=True)
        foot.add_column(width=width - 14, no_wrap=True, overflow="ellipsis")
        foot.add_row(self._label("speed"), self._speed_text())
        says = _sample_text(now.sample) if now.sample is not None else Text("nothing yet", "dim")
        foot.add_row(self._label("it says"), _two_lines(says, self._console, width - 14))
        return Group(head, foot)

    def _label(self, text: str) -> Text:
        return Text(text, "dim")

    def _line(self, course: Course, columns: int) -> Text:
        plain = not (self._console.encoding or "").lower().startswith("utf")
        return Text(course.line(columns, plain), "cyan")

    def _speed_text(self) -> str:
        last, left = self._now.last, self._seconds_left()
        if last is None:
            return "the first step"
        parts = [f"{last.tokens_per_second:,.0f} tokens/s"]
        if last.utilization is not None:
            parts.append(f"{last.utilization:.0%} MFU")
        if left is not None:
            parts.append(f"{_clock(left)} left" + (" in all" if self._later_steps() else ""))
        return "   ".join(parts)

    def _later_steps(self) -> int:
        names, now = list(self._plan), self._now.name
        return sum(self._plan[name] for name in names[names.index(now) + 1 :]) if now in names else 0

    def _seconds_left(self) -> float | None:
        """For the whole run, at the pace of this stage, validations included."""
        now = self._now
        taken = now.step - now.first
        if taken < 3 or now.seconds < 2:
            return None
        return (now.steps - now.step + self._later_steps()) * now.seconds / taken


@dataclass
class _StageView:
    """What is known of the stage that is shown: its name, the step it starts after, its steps, and how it goes."""

    name: StageName
    first: int
    steps: int
    last: StepReport | None = None
    validation: Score | None = None
    best: Score | None = None
    sample: TrainingSample | None = None
    losses: Course = field(default_factory=Course)
    bits: Course = field(default_factory=Course)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.smoothing = Smoothing(self.steps)

    def back_to(self, step: int) -> None:
        """Forget what came after a step."""
        self.first, self.started, self.last = step, time.monotonic(), None
        self.smoothing = Smoothing(self.steps)
        for course in (self.losses, self.bits):
            course.cut(step / max(1, self.steps))

    @property
    def loss(self) -> float:
        """Smoothed, as a single batch says little; 0 where there is none yet."""
        return self.smoothing.value

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.last.step if self.last is not None else self.first

    @property
    def seconds(self) -> float:
        """Since it started here."""
        return time.monotonic() - self.started


def _bits_text(now: _StageView) -> str:
    if now.validation is None or now.best is None:
        return ""
    bits, best = now.validation.bits_per_byte, now.best.bits_per_byte
    return f"{bits:.4f} bits/byte" if now.validation is now.best else f"{bits:.4f}, best {best:.4f}"


def _sample_text(sample: TrainingSample) -> Text:
    """Prompt and answer in one line."""
    # What a model says may hold anything: control characters would move the cursor
    prompt, said = (
        " ".join("".join(c if c.isprintable() else " " for c in text).split()) for text in (sample.prompt, sample.text)
    )
    return Text.assemble((f"{prompt} → " if prompt else "", "dim"), said or "(nothing)")


def _two_lines(text: Text, console: Console, width: int) -> Text:
    """The text wrapped to two lines, no more and no less."""
    lines = list(text.wrap(console, width))
    if len(lines) > 2:
        lines[1].truncate(width - 1)
        lines[1].append("…")
    return Text("\n").join([*lines[:2], *[Text("")] * (2 - len(lines))])


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
