"""The live display of training; a line a validation where stderr is no terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tinylm.checkpoint import StageName
from tinylm.evaluation import Score
from tinylm.reporting import StepReport


class TrainingDisplay:
    """Shows stage, loss, speed and time left; a `tinylm.trainer.Reporter`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._loss = 0.0
        self._speed = 0.0

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """A new bar."""
        self._task = self._progress.add_task(stage, total=steps, completed=step, figures="")
        self._loss = 0.0
        self._console.print(f"[bold]{stage}[/bold]: {steps:,} steps" + (f", from step {step:,}" if step else ""))

    def stepped(self, report: StepReport) -> None:
        """Move the bar."""
        # Smoothed, as a single batch says little
        self._loss = report.loss if not self._loss else 0.95 * self._loss + 0.05 * report.loss
        self._speed = report.tokens_per_second
        if self._task is not None:
            figures = f"loss {self._loss:.3f}  {report.tokens_per_second:,.0f} tokens/s"
            if report.utilization is not None:
                figures += f"  {report.utilization:.0%} MFU"
            self._progress.update(self._task, completed=report.step, figures=figures)

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """A line that stays."""
        self._console.print(
            f"{stage:>9} step {step:>6,}  loss {self._loss:6.3f}  validation {result.loss:6.3f}  "
            f"bits/byte {result.bits_per_byte:6.4f}  {self._speed:>8,.0f} tokens/s{'  best' if is_best else ''}",
            soft_wrap=True,
        )
