"""What training tells while it goes on, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tinylm.checkpoint import StageName
from tinylm.evaluation import Score


@dataclass(frozen=True)
class StepReport:
    """What is known after an optimizer step.

    On a GPU, several steps are reported at a time, a little later.

    Attributes:
        stage, step, steps: which step of how many.
        loss: mean negative log-likelihood, in nats, of its supervised tokens.
        learning_rate: that it was taken with.
        tokens_per_second: over the last steps.
        utilization: model FLOPs over what the GPU could do, over the last steps; None on a CPU.
    """

    stage: StageName
    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    utilization: float | None = None


class Reporter(Protocol):
    """Is told what training does; the command line draws it."""

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """A stage begins, or goes on after `step` of `steps` steps."""

    def stepped(self, report: StepReport) -> None:
        """An optimizer step is done."""

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """A validation is done."""


class SilentReporter:
    """Says nothing."""

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """Nothing."""

    def stepped(self, report: StepReport) -> None:
        """Nothing."""

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """Nothing."""
