"""What training tells while it goes on, and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tinylm.evaluation import Score
from tinylm.run_folder import StageName


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


@dataclass(frozen=True)
class Sample:
    """What the model says as it is.

    Attributes:
        prompt: in fine-tuning what it answers, in pre-training what it goes on from; it may be empty there.
        text: what it says.
    """

    prompt: str
    text: str


class Reporter(Protocol):
    """Is told what training does; the command line draws it."""

    def planned(self, plan: Mapping[StageName, int]) -> None:
        """The steps of all stages are known; those of stages that are done already included."""

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """A stage begins, or goes on after `step` of `steps` steps."""

    def stepped(self, report: StepReport) -> None:
        """An optimizer step is done."""

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """A validation is done."""

    def sampled(self, stage: StageName, step: int, samples: Sequence[Sample]) -> None:
        """The model has said something; not after every validation."""

    def rolled_back(self, stage: StageName, step: int) -> None:
        """Training has gone wrong and goes on after an earlier step; what was told of later ones does not count."""


class SilentReporter:
    """Says nothing."""

    def planned(self, plan: Mapping[StageName, int]) -> None:
        """Nothing."""

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """Nothing."""

    def stepped(self, report: StepReport) -> None:
        """Nothing."""

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """Nothing."""

    def sampled(self, stage: StageName, step: int, samples: Sequence[Sample]) -> None:
        """Nothing."""

    def rolled_back(self, stage: StageName, step: int) -> None:
        """Nothing."""


class Reporters:
    """Tells several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def planned(self, plan: Mapping[StageName, int]) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.planned(plan)

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.stage_started(stage, step, steps)

    def stepped(self, report: StepReport) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.stepped(report)

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.validated(stage, step, result, is_best)

    def sampled(self, stage: StageName, step: int, samples: Sequence[Sample]) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.sampled(stage, step, samples)

    def rolled_back(self, stage: StageName, step: int) -> None:
        """Tell each."""
        for reporter in self._reporters:
            reporter.rolled_back(stage, step)
