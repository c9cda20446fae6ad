"""Training callbacks: progress, samples and stopping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinylm.evaluation import Score
    from tinylm.run_folder import RunFolder, StageName, TrainState


@dataclass(frozen=True)
class StepReport:
    """The figures of one optimizer step.

    Attributes:
        stage, step, steps: step number `step`, from 1, of the `steps` steps of the stage.
        loss: mean negative log-likelihood of the step's supervised tokens, in nats.
        learning_rate: the step's learning rate.
        tokens_per_second: mean of the last steps.
        utilization: model FLOPs utilization, from 0 to 1, mean of the last steps; None on a CPU.
    """

    stage: StageName
    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    utilization: float | None = None


@dataclass(frozen=True)
class TrainingSample:
    """Text that the model generated during training.

    Attributes:
        prompt: the user message in fine-tuning, the beginning of a text in pre-training; it may be empty.
        text: the generated reply or continuation.
    """

    prompt: str
    text: str


class TrainingCallback:
    """Base class of training callbacks. Its methods do nothing: override those that you need.

    The methods are called between steps, so they should return quickly. Where several processes train together, they
    are called in the main process only. A callback that raises OSError, for example on a full disk, is not called
    again; other exceptions end the training.
    """

    def on_message(self, message: str) -> None:
        """Receive a line of information on data, model or progress."""

    def on_warning(self, message: str) -> None:
        """Receive a line that the user should read, for example on data that was left out."""

    def on_start(self, run: RunFolder) -> None:
        """Begin: the run folder exists, and the first step comes next."""

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Receive the number of steps of every stage, completed stages included; again whenever it changes."""

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """Begin a stage of `steps` steps, or continue it after step `step`."""

    def on_step(self, report: StepReport) -> None:
        """Receive the figures of a step. On a GPU, the reports of several steps come together, a little later."""

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:
        """Receive the score on held-out data after a step."""

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:
        """Receive samples of the model; they are not generated after every validation."""

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Continue after step `step`, as training diverged: the reports of later steps no longer count."""

    def should_stop(self) -> bool:
        """Return True to save and end the training; called after every step."""
        return False

    def on_end(self, run: RunFolder, state: TrainState, error: Exception | None) -> None:
        """End: the training is finished (`state.finished`), stopped, or failed with `error`."""

    def close(self) -> None:
        """Release files and the terminal; always called last, also after an interrupt."""


class StopWhen(TrainingCallback):
    """Ends the training when a function returns True.

    Args:
        asks_to_stop: called after every step.
    """

    def __init__(self, asks_to_stop: Callable[[], bool]) -> None:
        self._asks_to_stop = asks_to_stop

    def should_stop(self) -> bool:
        """Call the function."""
        return self._asks_to_stop()


class CallbackList(TrainingCallback):
    """Calls several callbacks in their order.

    Args:
        callbacks: one that raises OSError is removed, and the others receive a warning.
    """

    def __init__(self, *callbacks: TrainingCallback) -> None:
        self._callbacks = list(callbacks)
        self._warnings: set[str] = set()

    def _call(self, call: Callable[[TrainingCallback], object]) -> None:
        for callback in tuple(self._callbacks):
            try:
                call(callback)
            except OSError as error:
                if callback not in self._callbacks:
                    continue
                self._callbacks.remove(callback)
                with suppress(OSError):
                    callback.close()
                self.on_warning(f"no more reports to {type(callback).__name__}: {error.strerror or error}")

    def on_message(self, message: str) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_message(message))

    def on_warning(self, message: str) -> None:
        """Call each, unless they have received the same warning before."""
        if message in self._warnings:
            return
        self._warnings.add(message)
        self._call(lambda callback: callback.on_warning(message))

    def on_start(self, run: RunFolder) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_start(run))

    def on_plan(self, plan: Mapping[StageName, int]) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_plan(plan))

    def on_stage_start(self, stage: StageName, step: int, steps: int) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_stage_start(stage, step, steps))

    def on_step(self, report: StepReport) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_step(report))

    def on_validation(self, stage: StageName, step: int, score: Score, is_best: bool) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_validation(stage, step, score, is_best))

    def on_samples(self, stage: StageName, step: int, samples: Sequence[TrainingSample]) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_samples(stage, step, samples))

    def on_rollback(self, stage: StageName, step: int) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_rollback(stage, step))

    def should_stop(self) -> bool:
        """Whether any callback asks to stop; each is called."""
        answers: list[bool] = []
        self._call(lambda callback: answers.append(callback.should_stop()))
        return any(answers)

    def on_end(self, run: RunFolder, state: TrainState, error: Exception | None) -> None:
        """Call each."""
        self._call(lambda callback: callback.on_end(run, state, error))

    def close(self) -> None:
        """Call each."""
        self._call(lambda callback: callback.close())
