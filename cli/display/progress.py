"""The live display of training; lines where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tinylm.cli.display.sparkline import Sparkline
from tinylm.evaluation import Score
from tinylm.printable import printable
from tinylm.run_folder import STAGE_TITLES, RunFolder, StageName, TrainState
from tinylm.training.callbacks import StepReport, TrainingSample
from tinylm.training.progress import ProgressLines, ProgressTracker, StageProgress, clock, one_line

_WIDEST = 110
_REDRAWS_PER_SECOND = 4


def progress_display(console: Console | None = None) -> ProgressTracker:
    """The live display on a terminal; lines on anything else.

    Args:
        console: to write to; by default stderr.
    """
    console = console or Console(stderr=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return TrainingDisplay(console)
    return ProgressLines(lambda line: console.print(Text(line), soft_wrap=True))


class TrainingDisplay(ProgressTracker):
    """Draws stage, loss, validations, speed, time left and samples of the model on a terminal.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._losses, self._bits = Sparkline(), Sparkline()
        self._sample: TrainingSample | None = None
        self._live = Live(
            console=console, get_renderable=self._block, refresh_per_second=_REDRAWS_PER_SECOND, transient=True
        )

    def on_message(self, message: str) -> None:
        """Print it above the display."""
        self._console.print(Text(printable(message)), soft_wrap=True)

    def on_warning(self, message: str) -> None:
        """Print it above the display."""
        self._console.print(Text.assemble(("Note:", "bold yellow"), f" {printable(message)}"), soft_wrap=True)

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """Draw a new bar."""
        self._close_stage()
        super().on_stage_start(stage, step, steps)
        self._losses, self._bits, self._sample = Sparkline(), Sparkline(), None
        if not self._live.is_started:
            self._live.start()

    def on_step(self, report: StepReport) -> None:
        """Move the bar."""
        super().on_step(report)
        self._losses.add(report.step / report.steps, self.stage.loss)

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:
        """Draw it."""
        super().on_validation(stage, step, score, is_best)
        self._bits.add(step / max(1, self.stage.steps), score.bits_per_byte)

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:  # noqa: ARG002
        """Show the first."""
        self._sample = samples[0] if samples else None

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Go back with the training."""
        super().on_rollback(stage, step)
        for course in (self._losses, self._bits):
            course.cut(step / max(1, self.stage.steps))

    def on_end(self, run: RunFolder, state: TrainState, error: Exception | None) -> None:  # noqa: ARG002
        """Remove the display, and leave a line on the stage."""
        self.close()

    def close(self) -> None:
        """Remove the display, and leave a line on the stage."""
        if self._live.is_started:
            self._live.stop()
        self._close_stage()

    def _close_stage(self) -> None:
        """Print the line that stays of a stage."""
        stage = self.stage
        if stage.last is None:
            return
        figures = [f"{stage.step:,} of {stage.steps:,} steps in {clock(stage.seconds)}", f"loss {stage.loss:.3f}"]
        if stage.best is not None:
            figures.append(f"{stage.best.bits_per_byte:.4f} bits/byte")
        self._console.print(Text(f"{STAGE_TITLES[stage.name]}: {', '.join(figures)}"), soft_wrap=True)
        stage.last = None

    def _block(self) -> RenderableType:
        """The display, which always has the same number of lines."""
        # The terminal echoes ^C behind the last line, which must not make it wrap
        width = min(self._console.width - 3, _WIDEST)
        head = Table.grid(padding=(0, 2))
        head.add_column(width=12, no_wrap=True)
        columns = max(8, width - 12 - 2 - 2 - 26)
        head.add_column(width=columns, no_wrap=True)
        head.add_column(width=26, no_wrap=True, overflow="ellipsis")
        stage = self.stage
        bar = ProgressBar(total=max(1, stage.steps), completed=stage.step, width=columns)
        head.add_row(Text(STAGE_TITLES[stage.name], "bold"), bar, f"{stage.step:,}/{stage.steps:,} steps")
        loss = f"{stage.loss:.3f}" if stage.last else ""
        head.add_row(Text("loss", "dim"), self._curve(self._losses, columns), loss)
        head.add_row(Text("held out", "dim"), self._curve(self._bits, columns), _bits_text(stage))
        foot = Table.grid(padding=(0, 2))
        foot.add_column(width=12, no_wrap=True)
        foot.add_column(width=width - 14, no_wrap=True, overflow="ellipsis")
        foot.add_row(Text("speed", "dim"), self._speed_text())
        sample = _sample_text(self._sample) if self._sample is not None else Text("none yet", "dim")
        foot.add_row(Text("sample", "dim"), _two_lines(sample, self._console, width - 14))
        return Group(head, foot)

    def _curve(self, course: Sparkline, columns: int) -> Text:
        plain = not (self._console.encoding or "").lower().startswith("utf")
        return Text(course.line(columns, plain), "cyan")

    def _speed_text(self) -> str:
        last, left = self.stage.last, self.seconds_left
        if last is None:
            return "the first step"
        parts = [f"{last.tokens_per_second:,.0f} tokens/s"]
        if last.utilization is not None:
            parts.append(f"{last.utilization:.0%} MFU")
        if left is not None:
            parts.append(f"{clock(left)} left" + (" in all" if self.later_steps else ""))
        return "   ".join(parts)


def _bits_text(stage: StageProgress) -> str:
    if stage.validation is None or stage.best is None:
        return ""
    bits, best = stage.validation.bits_per_byte, stage.best.bits_per_byte
    return f"{bits:.4f} bits/byte" if stage.validation is stage.best else f"{bits:.4f}, best {best:.4f}"


def _sample_text(sample: TrainingSample) -> Text:
    """Prompt and reply in one line."""
    prompt, text = one_line(sample.prompt), one_line(sample.text)
    return Text.assemble((f"{prompt} → " if prompt else "", "dim"), text or "(nothing)")


def _two_lines(text: Text, console: Console, width: int) -> Text:
    """Text in exactly two lines; what does not fit is cut."""
    lines = list(text.wrap(console, width))
    if len(lines) > 2:
        lines[1].truncate(width - 1)
        lines[1].append("…")
    return Text("\n").join([*lines[:2], *[Text("")] * (2 - len(lines))])
