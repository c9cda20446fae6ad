"""Losses and speed of recent steps, read from the device seldom enough that it need not wait for the host."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

_READ_SECONDS = 0.5
_RECENT_STEPS = 20


@dataclass(frozen=True)
class TakenStep:
    """A step whose loss a GPU may still be computing.

    Attributes:
        step: number of the step, from 1.
        learning_rate: learning rate of the step.
        losses: loss of each pass, scalars on the device; their sum is the mean over the counted tokens.
        norm: norm of the gradient, a scalar on the device.
        positions: tokens that went through the model.
        flops: floating-point operations of the step; see `tinylm.training.mfu`.
    """

    step: int
    learning_rate: float
    losses: list[Tensor]
    norm: Tensor
    positions: int
    flops: float


@dataclass(frozen=True)
class MeasuredStep:
    """A step with its loss and speed.

    Attributes:
        taken: the step.
        loss: mean negative log-likelihood of its counted tokens, in nats.
        norm: norm of the gradient.
        seconds: duration, averaged over the steps that were read together.
        tokens_per_second: mean of the last steps.
        flops_per_second: mean of the last steps.
    """

    taken: TakenStep
    loss: float
    norm: float
    seconds: float
    tokens_per_second: float
    flops_per_second: float


class Meter:
    """Collects steps and reads their losses together.

    Args:
        device: the device that trains. Steps of a CPU are read one by one, which costs nothing there.
    """

    def __init__(self, device: torch.device) -> None:
        self.reads_at_once = device.type == "cpu"
        self._waiting: list[TakenStep] = []
        self._recent: list[tuple[int, float, float]] = []
        self.restart()

    def restart(self) -> None:
        """Reset the timer: the time since the last reading was not spent on steps."""
        self._since = time.monotonic()

    def skip(self, seconds: float) -> None:
        """Subtract time that was not spent on steps."""
        self._since += seconds

    def add(self, taken: TakenStep) -> None:
        """Add a step."""
        self._waiting.append(taken)

    @property
    def due(self) -> bool:
        """Whether it is time to read the steps and show them."""
        return self.reads_at_once or time.monotonic() - self._since >= _READ_SECONDS

    def read(self) -> list[MeasuredStep]:
        """Read the steps added since the last reading, oldest first; waits until the device has completed them."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        scalars = torch.stack([value for taken in waiting for value in (*taken.losses, taken.norm)]).tolist()
        now = time.monotonic()
        seconds = (now - self._since) / len(waiting)
        self._since = now
        measured: list[MeasuredStep] = []
        for taken in waiting:
            *losses, norm = (scalars.pop(0) for _ in range(len(taken.losses) + 1))
            self._recent = [*self._recent[1 - _RECENT_STEPS :], (taken.positions, taken.flops, seconds)]
            positions, flops, elapsed = (sum(column) for column in zip(*self._recent, strict=True))
            elapsed = max(elapsed, 1e-9)
            measured.append(MeasuredStep(taken, sum(losses), norm, seconds, positions / elapsed, flops / elapsed))
        return measured
