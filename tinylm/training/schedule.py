"""Schedules of a stage: number of steps and learning rate, and how they change during training.

The learning rate rises, stays constant and falls linearly to zero (Hägele et al. 2024, arXiv:2405.18392). Until it
falls, the number of steps can still change, as schedules for more or fewer steps begin alike.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tinylm.config import TrainConfig
from tinylm.run_folder import ChangeReason, Schedule, StageName

# A stage is planned again if it would end early or late by the first part of its time, and after the second at least
_TOLERATED_SHARE, _PAUSE_SHARE = 0.02, 0.03
_LEAST_PAUSE = 2.0
# The mean time of a step is over this part of the stage's time, and this many seconds at least
_MEMORY_SHARE, _LEAST_MEMORY = 0.03, 2.0
_LEAST_STEPS = 3
# A step that takes this factor of the mean and this many seconds more was interrupted, as by a suspended process
_INTERRUPTION_FACTOR, _INTERRUPTION_SECONDS = 10.0, 5.0
# The rest of a stage is never cut to less than this part
_LEAST_REST = 0.1


def first_schedule(steps: int, settings: TrainConfig, threads: int = 0) -> Schedule:
    """Create the first schedule of a stage."""
    return Schedule(
        steps=steps, warmup=settings.warmup * steps, decay_start=(1 - settings.decay) * steps, threads=threads
    )


def rate_factor(schedule: Schedule, step: int) -> float:
    """Compute the factor of a step on the peak learning rate, above 0 and at most 1.

    Args:
        schedule: the schedule of the step.
        step: number of steps taken before it.
    """
    middle = step + 0.5
    rising = middle / schedule.warmup if schedule.warmup else 1.0
    falling_steps = schedule.steps - schedule.decay_start
    falling = schedule.decay_from * (schedule.steps - middle) / falling_steps if falling_steps > 0 else 1.0
    return min(1.0, rising, falling)


def schedule_at(schedules: Sequence[Schedule], step: int) -> Schedule:
    """Find the schedule of the step that follows `step` steps: the last one that begins by then."""
    return [schedule for schedule in schedules if schedule.step <= step][-1]


def has_later(schedules: Sequence[Schedule], step: int) -> bool:
    """Whether a schedule begins later than after `step` steps, as an earlier process went further."""
    return any(schedule.step > step for schedule in schedules)


def validates_at(step: int, steps: int, validations: int) -> bool:
    """Whether a validation follows a step; the last one is at the end of the stage."""
    return step == steps or step * validations // steps != (step - 1) * validations // steps


def with_steps(schedule: Schedule, taken: int, steps: int, decay: float, reason: ChangeReason) -> Schedule:
    """Create the schedule that continues another one with a different number of steps.

    Args:
        schedule: the current schedule.
        taken: number of steps taken.
        steps: the new number of steps; at least one more than taken is used.
        decay: part of a stage's steps in which the learning rate falls.
        reason: the reason of the change.
    """
    steps = max(taken + 1, steps)
    if taken > schedule.decay_start or schedule.decay_from < 1:
        left = (schedule.steps - taken) / (schedule.steps - schedule.decay_start)
        start, factor = float(taken), schedule.decay_from * left
    else:
        start, factor = max(float(taken), (1 - decay) * steps), schedule.decay_from
    return replace(schedule, step=taken, steps=steps, decay_start=start, decay_from=factor, reason=reason)


def decaying_now(schedule: Schedule, taken: int, decay: float) -> Schedule:
    """Create the schedule whose learning rate falls from now on, over the steps that fit a plateau of this length."""
    steps = min(schedule.steps, math.ceil(taken / max(1e-9, 1 - decay)))
    start = float(min(taken, steps))
    steps = max(taken + 1, steps)
    return replace(schedule, step=taken, steps=steps, decay_start=start, may_grow=False, reason="overfitting")


class TimePlanner:
    """Changes the number of steps of a stage that would not end on time.

    Args:
        seconds_left: seconds from now of each unfinished stage, in order.
        settings: the training section of the configuration.
    """

    def __init__(self, seconds_left: Mapping[StageName, float], settings: TrainConfig) -> None:
        self._settings = settings
        self._ends: dict[StageName, float] = {}
        end = time.monotonic()
        for stage, seconds in seconds_left.items():
            end += seconds
            self._ends[stage] = end

    def seconds_left(self) -> dict[StageName, float]:
        """Seconds from now of each unfinished stage; negative if its time is over."""
        begin = time.monotonic()
        left: dict[StageName, float] = {}
        for stage, end in self._ends.items():
            left[stage] = end - begin
            begin = max(begin, end)
        return left

    def start(self, stage: StageName, most_steps: int = sys.maxsize) -> None:
        """Begin or continue a stage, and reset its measured speed.

        Args:
            stage: name of the stage.
            most_steps: maximum number of its steps, however much time is left.
        """
        for done in list(self._ends)[: list(self._ends).index(stage)]:
            del self._ends[done]
        self._stage, self._most_steps = stage, most_steps
        self._seconds = max(1.0, self._ends[stage] - time.monotonic())
        self._step_seconds = self._weight = 0.0
        self._seen, self._validation_steps = 0, math.inf
        self._planned, self._interrupted = time.monotonic(), False

    def add_step(self, seconds: float) -> None:
        """Add the duration of a step. If the process was suspended meanwhile, all stages share the lost time."""
        mean = self._step_seconds
        if self._seen >= _LEAST_STEPS and seconds > _INTERRUPTION_FACTOR * mean + _INTERRUPTION_SECONDS:
            self._share_loss(seconds - mean)
            return
        memory = max(_LEAST_MEMORY, _MEMORY_SHARE * self._seconds)
        kept = math.exp(-seconds / memory)
        # An exponentially weighted mean
        total = self._step_seconds * self._weight * kept + seconds
        self._weight = self._weight * kept + 1
        self._step_seconds = total / self._weight
        self._seen += 1

    def add_validation(self, seconds: float) -> None:
        """Add the duration of a validation, with the samples and the checkpoint after it."""
        if self._step_seconds:
            self._validation_steps = min(self._validation_steps, seconds / self._step_seconds)

    def change(self, schedule: Schedule, taken: int) -> Schedule | None:
        """Return another schedule if the current one would end too early or too late, else None.

        Args:
            schedule: the current schedule.
            taken: number of steps taken.
        """
        now, left = time.monotonic(), schedule.steps - taken
        if self._seen < _LEAST_STEPS or left <= 0:
            return None
        # Soon enough before the end of the stage
        pause = min(max(_LEAST_PAUSE, _PAUSE_SHARE * self._seconds), left * self._step_seconds / 2)
        if not self._interrupted and now - self._planned < pause:
            return None
        validations = self._settings.validations - taken * self._settings.validations // schedule.steps
        validating = validations * self._validation_steps if math.isfinite(self._validation_steps) else 0.0
        available = self._ends[self._stage] - now
        missed = (left + validating) * self._step_seconds - available
        if abs(missed) <= _TOLERATED_SHARE * self._seconds or (missed < 0 and not schedule.may_grow):
            return None
        wanted = int(available / self._step_seconds - validating)
        least = math.ceil(_LEAST_REST * left)
        if wanted < least:
            wanted = least
            self._ends[self._stage] = now + (least + validating) * self._step_seconds
        wanted = min(wanted, max(left, self._most_steps - taken))
        if wanted == left:
            return None
        self._planned, self._interrupted = now, False
        return with_steps(schedule, taken, taken + wanted, self._settings.decay, "time")

    def _share_loss(self, lost: float) -> None:
        """Shorten the rest of every stage in the same proportion."""
        now = time.monotonic()
        before = now - lost
        end = max(self._ends.values())
        if end > before:
            kept = max(0.0, end - now) / (end - before)
            self._ends = {stage: now + max(0.0, at - before) * kept for stage, at in self._ends.items()}
        self._interrupted = True
