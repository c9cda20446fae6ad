"""Event files for TensorBoard: the scalars of `metrics.jsonl`, and samples as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from tinylm.evaluation import Score
from tinylm.run_folder import RunFolder, StageName
from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample


class TensorBoardCallback(TrainingCallback):
    """Writes event files for TensorBoard; steps are counted through both stages.

    Args:
        folder: to write into; by default `tensorboard` in the run folder. TensorBoard hides what an earlier process
            wrote there after its last checkpoint.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._plan: Mapping[StageName, int] = {}
        self._writer: SummaryWriter | None = None
        self._numbers = count()

    def on_start(self, run: RunFolder) -> None:
        """Choose the folder."""
        self._folder = self._folder or run.tensorboard

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Remember the number of steps of each stage."""
        self._plan = plan

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:  # noqa: ARG002
        """Open the first file."""
        if self._writer is None:
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
        self._add(report.stage, report.step, values)

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:  # noqa: ARG002
        """Write loss and bits per byte on held-out data."""
        self._add(stage, step, {"validation_loss": score.loss, "bits_per_byte": score.bits_per_byte})

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:
        """Write samples as text."""
        for sample in samples:
            self._opened.add_text(f"{stage}/sample {sample.prompt}".strip(), sample.text, self._global(stage, step))

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Continue in another file, which hides the later steps of earlier files."""
        if self._writer is not None:
            self._writer.close()
        self._writer = SummaryWriter(
            str(self._folder), purge_step=self._global(stage, step) + 1, filename_suffix=f".{next(self._numbers)}"
        )

    def close(self) -> None:
        """Write what is buffered and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, stage: StageName, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._opened.add_scalar(f"{stage}/{name}", value, self._global(stage, step))

    @property
    def _opened(self) -> SummaryWriter:
        assert self._writer is not None, "a stage starts before its steps"
        return self._writer

    def _global(self, stage: StageName, step: int) -> int:
        return step + (self._plan.get("pretrain", 0) if stage == "finetune" else 0)
