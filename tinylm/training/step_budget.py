"""Divide the budget, steps or time, among the stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tinylm.config import TrainConfig
from tinylm.run_folder import StageName
from tinylm.training.distributed import Ranks
from tinylm.training.stage import Stage

CALIBRATION_SHARE = 0.02
"""Part of a stage's time in which the speed is measured."""
RESERVED_SHARE = 0.01
"""Part of the time that is kept in reserve."""
SAMPLES_SHARE = 0.01
"""Part of the time that samples may take."""
_LEAST_STEPS, _MOST_STEPS = 3, 200


def share_of(stage: StageName, stages: Sequence[StageName], settings: TrainConfig) -> float:
    """Part of the remaining budget for a stage."""
    if len(stages) == 1:
        return 1.0
    return settings.pretrain_share if stage == "pretrain" else 1 - settings.pretrain_share


def divide_steps(stages: Sequence[StageName], settings: TrainConfig) -> dict[StageName, int]:
    """Divide the configured steps among the stages, each of which gets at least one."""
    if len(stages) == 1:
        return {stages[0]: settings.steps}
    first = min(round(settings.steps * settings.pretrain_share), settings.steps - 1)
    first = max(1, first)
    return {stages[0]: first, stages[1]: max(1, settings.steps - first)}


def plan_for_time(
    stages: Sequence[Stage],
    settings: TrainConfig,
    deadline: float,
    calibrate: Callable[[Stage, float], tuple[float, float]],
) -> tuple[dict[StageName, int], dict[StageName, float]]:
    """Divide the remaining time among the stages, and measure how many steps fit into it.

    Args:
        stages: the stages, in order.
        settings: the training section of the configuration.
        deadline: `time.monotonic()` at the end of the budget.
        calibrate: measures a stage for about a number of seconds; returns the seconds of a step and of a validation.

    Returns:
        the steps of each stage, and its seconds.
    """
    names = [stage.name for stage in stages]
    plan: dict[StageName, int] = {}
    for stage in stages:
        started = time.monotonic()
        seconds = (deadline - started) * (1 - RESERVED_SHARE - SAMPLES_SHARE) * share_of(stage.name, names, settings)
        step_seconds, validation_seconds = calibrate(stage, seconds * CALIBRATION_SHARE)
        seconds -= time.monotonic() - started + settings.validations * validation_seconds
        plan[stage.name] = min(stage.most_steps, max(1, int(seconds / step_seconds)))
    left = (deadline - time.monotonic()) * (1 - RESERVED_SHARE)
    return plan, {name: left * share_of(name, names, settings) for name in names}


def mean_seconds(step: Callable[[], object], seconds: float, warm_up: int, ranks: Ranks) -> float:
    """Measure the mean seconds of a step.

    Args:
        step: takes a step.
        seconds: approximate duration of the measurement.
        warm_up: number of steps before it. If even the last one takes longer than `seconds`, one step is measured.
        ranks: the processes that train together; all take the same number of steps.
    """
    started = time.monotonic()
    for _ in range(warm_up):
        started = time.monotonic()
        step()
    least = ranks.broadcast(_LEAST_STEPS if time.monotonic() - started < seconds else 1)
    started, taken, wanted = time.monotonic(), 0, least
    while taken < wanted:
        step()
        taken += 1
        if taken == _LEAST_STEPS:
            each = (time.monotonic() - started) / taken
            wanted = ranks.broadcast(max(_LEAST_STEPS, min(_MOST_STEPS, int(seconds / max(each, 1e-9)))))
    return (time.monotonic() - started) / taken
