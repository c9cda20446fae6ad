"""Losses and speed of the steps taken, read off the device seldom enough that it need not wait for the host."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

_READ_SECONDS = 0.5
_RECENT_STEPS = 20


@dataclass(frozen=True)
class TakenStep:
    """A step as the host knows it: its loss may still be in the making.

    Attributes:
        step: its number, from 1.
        learning_rate: that it was taken with.
        losses: of its passes, whose sum is the mean over the counted tokens; scalars on the device.
        norm: of the gradient; a scalar on the device.
        positions: tokens that went through the model.
        flops: operations that they ask for; see `tinylm.training.mfu`.
    """

    step: int
    learning_rate: float
    losses: list[Tensor]
    norm: Tensor
    positions: int
    flops: float


@dataclass(frozen=True)
class MeasuredStep:
    """A step with what was read.

    Attributes:
        taken: the step.
        loss: mean negative log-likelihood, in nats, of its counted tokens.
        norm: of the gradient.
        seconds: that it took, on average with those read together with it.
        tokens_per_second: over the last steps.
        flops_per_second: over the last steps.
    """

    taken: TakenStep
    loss: float
    norm: float
    seconds: float
    tokens_per_second: float
    flops_per_second: float


class Meter:
    """Collects steps and reads them together.

    Args:
        device: that trains. A CPU's steps are read one by one, which costs nothing there.
    """

    def __init__(self, device: torch.device) -> None:
        self.reads_at_once = device.type == "cpu"
        self._waiting: list[TakenStep] = []
        self._recent: list[tuple[int, float, float]] = []
        self.restart()

    def restart(self) -> None:
        """Time begins anew: what came since the last reading was no step."""
        self._since = time.monotonic()

    def skip(self, seconds: float) -> None:
        """Leave out time that was spent on something else than steps."""
        self._since += seconds

    def add(self, taken: TakenStep) -> None:
        """Note a step."""
        self._waiting.append(taken)

    @property
    def due(self) -> bool:
        """Whether the steps should be read now, to be shown."""
        return self.reads_at_once or time.monotonic() - self._since >= _READ_SECONDS

    def read(self) -> list[MeasuredStep]:
        """The steps noted since the last reading, oldest first; waits until the device has done them."""
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
