"""How many steps a stage takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tinylm.config import TrainConfig
from tinylm.run_folder import StageName
from tinylm.training.distributed import Ranks

CALIBRATION_SHARE = 0.02
"""Part of a stage's time in which the speed is measured."""
RESERVED_SHARE = 0.01
"""Part of the time that is left for what is not foreseen."""
_LEAST_STEPS, _MOST_STEPS = 3, 200


def share_of(stage: StageName, stages: Sequence[StageName], settings: TrainConfig) -> float:
    """Part of what is left of the budget that a stage gets."""
    if len(stages) == 1:
        return 1.0
    return settings.pretrain_share if stage == "pretrain" else 1 - settings.pretrain_share


def divide_steps(stages: Sequence[StageName], settings: TrainConfig) -> dict[StageName, int]:
    """The configured steps, divided among the stages; together they make up all."""
    if len(stages) == 1:
        return {stages[0]: settings.steps}
    first = min(round(settings.steps * settings.pretrain_share), settings.steps - 1)
    first = max(1, first)
    return {stages[0]: first, stages[1]: max(1, settings.steps - first)}


def mean_seconds(step: Callable[[], object], seconds: float, warm_up: int, ranks: Ranks) -> float:
    """Mean time of a step.

    Args:
        step: takes one.
        seconds: to measure for, about.
        warm_up: steps that do not count.
        ranks: all take the same number of steps.
    """
    for _ in range(warm_up):
        step()
    started, taken, wanted = time.monotonic(), 0, _LEAST_STEPS
    while taken < wanted:
        step()
        taken += 1
        if taken == _LEAST_STEPS:
            each = (time.monotonic() - started) / taken
            wanted = ranks.broadcast(max(_LEAST_STEPS, min(_MOST_STEPS, int(seconds / max(each, 1e-9)))))
    return (time.monotonic() - started) / taken
