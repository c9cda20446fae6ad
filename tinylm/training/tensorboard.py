"""Training as TensorBoard shows it: event files with the scalars of `metrics.jsonl` and the samples as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from tinylm.evaluation import Score
from tinylm.run_folder import StageName
from tinylm.training.callbacks import Sample, SilentReporter, StepReport


class TensorBoardReporter(SilentReporter):
    """Writes event files; steps are counted through both stages.

    Args:
        folder: to write into; where an earlier process has written more than it saved, TensorBoard hides that.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan: Mapping[StageName, int] = {}
        self._writer: SummaryWriter | None = None
        self._numbers = count()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()

    def planned(self, plan: Mapping[StageName, int]) -> None:
        """Remember how many steps a stage has."""
        self._plan = plan

    def stage_started(self, stage: StageName, step: int, steps: int) -> None:  # noqa: ARG002
        """Open the file."""
        if self._writer is None:
            self.rolled_back(stage, step)

    def stepped(self, report: StepReport) -> None:
        """Loss, learning rate and speed."""
        values = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "tokens_per_second": report.tokens_per_second,
        }
        if report.utilization is not None:
            values["utilization"] = report.utilization
        self._add(report.stage, report.step, values)

    def validated(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:  # noqa: ARG002
        """Loss and bits per byte on held-out data."""
        self._add(stage, step, {"validation_loss": result.loss, "bits_per_byte": result.bits_per_byte})

    def sampled(self, stage: StageName, step: int, samples: Sequence[Sample]) -> None:
        """Samples as text."""
        for sample in samples:
            self._opened.add_text(f"{stage}/sample {sample.prompt}".strip(), sample.text, self._global(stage, step))

    def rolled_back(self, stage: StageName, step: int) -> None:
        """Go on in another file, which hides what comes after the step in earlier ones."""
        if self._writer is not None:
            self._writer.close()
        self._writer = SummaryWriter(
            str(self._folder), purge_step=self._global(stage, step) + 1, filename_suffix=f".{next(self._numbers)}"
        )

    def _add(self, stage: StageName, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._opened.add_scalar(f"{stage}/{name}", value, self._global(stage, step))

    @property
    def _opened(self) -> SummaryWriter:
        assert self._writer is not None, "a stage starts before anything is told of it"
        return self._writer

    def _global(self, stage: StageName, step: int) -> int:
        return step + (self._plan.get("pretrain", 0) if stage == "finetune" else 0)
