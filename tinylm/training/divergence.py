"""Training that goes wrong: a loss that is no number, or that rises far above where it was."""

from __future__ import annotations

import math

from tinylm.errors import RunError
from tinylm.run_folder import TrainState

RATE_FACTOR = 0.5
"""What the learning rate is multiplied with at each rollback."""

_SMOOTHING = 0.1
_LEAST_RISE_NATS, _RELATIVE_RISE = 1.0, 0.5


class DivergedError(Exception):
    """A step that training should not go on from.

    Attributes:
        step: which.
        reason: the predicate of a sentence about the loss.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"the loss {reason} at step {step}")
        self.step, self.reason = step, reason


def lasting_divergence(state: TrainState, problem: DivergedError) -> RunError:
    """The user's error where no rollback helps, or there is nothing to go back to."""
    key = "train.learning_rate" if state.stage == "pretrain" else "train.finetune_learning_rate"
    times = f" after {state.rollbacks} rollbacks" if state.rollbacks else ""
    return RunError(
        f"the loss {problem.reason} at {state.stage} step {problem.step}{times}; "
        f"the last good checkpoint is kept: try a lower {key}"
    )


def require_finite(value: float, step: int) -> None:
    """Make sure that a loss, or its sum with a norm, is a number.

    Raises:
        DivergedError: it is not.
    """
    if not math.isfinite(value):
        raise DivergedError(step, "is no longer finite")


def watch_loss(state: TrainState, loss: float, step: int) -> None:
    """Take note of a step's loss in `state`.

    The mean of the last ten or so steps is compared with the lowest that it has been in the stage: it may be up to half
    above that, and one nat in any case. Noise between batches stays far below.

    Raises:
        DivergedError: the loss has risen further.
    """
    before = state.smoothed_loss
    state.smoothed_loss = loss if before is None else before + _SMOOTHING * (loss - before)
    if state.lowest_loss is None or state.smoothed_loss < state.lowest_loss:
        state.lowest_loss = state.smoothed_loss
    if state.smoothed_loss > state.lowest_loss + max(_LEAST_RISE_NATS, _RELATIVE_RISE * state.lowest_loss):
        raise DivergedError(step, f"has risen from {state.lowest_loss:.2f} to {state.smoothed_loss:.2f} nats")
