"""Who is told what training does: the display, TensorBoard, and in the end the report."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tinylm.cli.console import notice
from tinylm.errors import TinyLMError

if TYPE_CHECKING:
    from tinylm.run_folder import RunFolder, TrainState
    from tinylm.training.callbacks import Reporter


def require_tensorboard() -> None:
    """Make sure that TensorBoard's package is there, before any work is done.

    Raises:
        TinyLMError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise TinyLMError(
            "`tinylm train --tensorboard` needs tensorboard: install it with pip install 'tinylm[tensorboard]'"
        )


def open_reporters(stack: ExitStack, run: RunFolder, tensorboard: bool) -> Reporter:
    """The display, and TensorBoard's event files where they are wanted; `stack` closes them."""
    from tinylm.cli.display.progress import TrainingDisplay
    from tinylm.training.callbacks import Reporters

    reporters: list[Reporter] = [stack.enter_context(TrainingDisplay())]
    if tensorboard:
        from tinylm.training.tensorboard import TensorBoardReporter

        reporters.append(stack.enter_context(TensorBoardReporter(run.tensorboard)))
    return Reporters(*reporters)


def close_log(run: RunFolder, state: TrainState, event: str, **details: Any) -> None:
    """Log how training ended and write the report; a run is as good without them."""
    try:
        from tinylm.report.report import write_report
        from tinylm.run_log import append_event

        append_event(run.metrics, state.stage, state.step, event, **details)
        write_report(run)
    except Exception as error:  # noqa: BLE001 - hours of training are worth more than a report
        reason = " ".join(str(error).split()) or type(error).__name__
        notice(f"report.html could not be written ({reason}); `tinylm report {run.path}` tries again")
