"""Detect a NaN or exploding loss."""

from __future__ import annotations

import math

from tinylm.errors import RunError
from tinylm.run_folder import TrainState

RATE_FACTOR = 0.5
"""Factor on the learning rate at each rollback."""

_SMOOTHING = 0.1
_LEAST_RISE_NATS, _RELATIVE_RISE = 1.0, 0.5


class DivergedError(Exception):
    """The loss at a step is NaN, infinite or exploding.

    Attributes:
        step: number of the step.
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
    """Make sure that a loss, or the sum of a loss and a norm, is finite.

    Raises:
        DivergedError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise DivergedError(step, "is no longer finite")


def watch_loss(state: TrainState, loss: float, step: int) -> None:
    """Update the smoothed loss in `state` with the loss of a step.

    The mean of about the last ten steps may rise by half of its lowest value in the stage, and by one nat in any case.
    Noise between batches is far smaller.

    Raises:
        DivergedError: the loss has risen further.
    """
    before = state.smoothed_loss
    state.smoothed_loss = loss if before is None else before + _SMOOTHING * (loss - before)
    if state.lowest_loss is None or state.smoothed_loss < state.lowest_loss:
        state.lowest_loss = state.smoothed_loss
    if state.smoothed_loss > state.lowest_loss + max(_LEAST_RISE_NATS, _RELATIVE_RISE * state.lowest_loss):
        raise DivergedError(step, f"has risen from {state.lowest_loss:.2f} to {state.smoothed_loss:.2f} nats")
