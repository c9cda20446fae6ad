"""Log how a training ended, and write its report."""

from __future__ import annotations

from collections.abc import Callable

from tinylm.printable import command_line
from tinylm.run_folder import RunFolder, TrainState
from tinylm.run_log import RunLogWriter
from tinylm.training.callbacks import TrainingCallback


class RunReport(TrainingCallback):
    """Appends `finished`, `stopped` or `failed` to the log, and writes `report.html`. Neither can fail a training.

    Args:
        warn: receives the reason where the report cannot be written.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn

    def on_end(self, run: RunFolder, state: TrainState, error: Exception | None) -> None:
        """Write both."""
        try:
            from tinylm.report.report import write_report

            log = RunLogWriter(run.metrics, self._warn)
            if error is not None:
                log.append_event(state.stage, state.step, "failed", reason=str(error))
            else:
                log.append_event(state.stage, state.step, "finished" if state.finished else "stopped")
            write_report(run)
        except Exception as problem:  # noqa: BLE001 - hours of training are worth more than a report
            retry = command_line("tinylm", "report", run.path)
            reason = " ".join(str(problem).split()) or type(problem).__name__
            self._warn(f"report.html could not be written ({reason}); `{retry}` tries again")
