"""The schedule of a stage, and its changes during training.

A schedule is replaced for three reasons: the time that is left, the load by other programs, and a validation loss that
rises before the learning rate falls. Every change is recorded in the state, so that a resumed run repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from msgspec.structs import replace

from tinylm.config import TrainConfig
from tinylm.run_folder import Schedule, StageName, TrainState
from tinylm.training.distributed import Ranks
from tinylm.training.schedule import TimePlanner, decaying_now, first_schedule, has_later, schedule_at
from tinylm.training.threads import ThreadChooser

# The validation loss counts as rising at this factor of the best, or above the best this many times in a row
_RISE, _RISES = 1.01, 2


class Pace:
    """Creates and changes the schedules in the state of a run.

    Args:
        state: the run's state, which is changed in place.
        settings: the training section of the configuration.
        ranks: the processes that train together; the main one decides.
    """

    def __init__(self, state: TrainState, settings: TrainConfig, ranks: Ranks) -> None:
        self._state, self._settings, self._ranks = state, settings, ranks
        self._planner: TimePlanner | None = None
        self._threads: ThreadChooser | None = None

    def plan(self, steps: Mapping[StageName, int], seconds_left: Mapping[StageName, float], threads: int) -> None:
        """Create the first schedule of every stage.

        Args:
            steps: number of steps of each stage.
            seconds_left: seconds of each stage; empty where the budget is in steps.
            threads: number of threads at the start; 0 leaves it as it is.
        """
        self._state.plan = dict(steps)
        self._state.schedules = {
            stage: [first_schedule(count, self._settings, threads)] for stage, count in steps.items()
        }
        self._state.seconds_left = dict(seconds_left)

    def first_threads(self, work: Callable[[], object]) -> int:
        """Measure the fastest number of threads at the start; 0 where the threads do not follow the load.

        Args:
            work: see `start`.
        """
        return ThreadChooser(self._settings.threads, work).first() if self._state.follows_load else 0

    def start(self, work: Callable[[], object], most_steps: int) -> None:
        """Begin or continue the state's stage.

        Args:
            work: a part of a step without effect, which is timed with other numbers of threads.
            most_steps: maximum number of steps of the stage, however much time is left.
        """
        state = self._state
        if state.seconds_left:
            self._planner = self._planner or TimePlanner(state.seconds_left, self._settings)
            self._planner.start(state.stage, most_steps)
        if state.follows_load:
            self._threads = ThreadChooser(self._settings.threads, work)

    def enter(self) -> None:
        """Begin the next stage with the number of threads of the stage before."""
        schedules = self._state.schedules[self._state.stage]
        if self._state.follows_load and len(schedules) == 1:
            schedules[0] = replace(schedules[0], threads=torch.get_num_threads())

    def add_step(self, seconds: float) -> None:
        """Add the duration of a step."""
        if self._planner is not None:
            self._planner.add_step(seconds)
        if self._threads is not None:
            self._threads.add_step(torch.get_num_threads(), seconds)

    def add_validation(self, seconds: float) -> None:
        """Add the duration of a validation, with the samples and the checkpoint after it."""
        if self._planner is not None:
            self._planner.add_validation(seconds)

    def judge(self, loss: float, epoch_steps: float) -> None:
        """Add the loss of a validation, and detect overfitting; call it before the state's best loss is updated.

        Args:
            loss: on held-out data, in nats.
            epoch_steps: steps of a pass over the stage's data. Before the second one, a loss that rises is no
                overfitting: a run that begins with trained weights rises as the learning rate does.
        """
        state = self._state
        best = loss if state.best_loss is None else state.best_loss
        state.rises = state.rises + 1 if loss > best else 0
        schedule = self.schedule()
        on_plateau = schedule.warmup <= state.step < schedule.decay_start
        repeats = state.step >= epoch_steps
        state.overfits = on_plateau and repeats and (loss > _RISE * best or state.rises >= _RISES)

    def schedule(self) -> Schedule:
        """The schedule of the next step."""
        return schedule_at(self._state.schedules[self._state.stage], self._state.step)

    def change(self) -> Schedule | None:
        """Replace the current schedule if necessary, and return the new one, or None.

        Must be called in every process after every step.
        """
        state = self._state
        if has_later(state.schedules[state.stage], state.step):
            return None  # an earlier process has already changed it
        change: Schedule | None = None
        if state.overfits and self._settings.decay:
            change = decaying_now(self.schedule(), state.step, self._settings.decay)
        elif state.seconds_left or state.follows_load:
            change = self._wanted() if self._ranks.is_main else None
            if self._ranks.any(change is not None)[0]:
                change = self._ranks.broadcast(change)
        state.overfits = False
        if change is not None:
            state.schedules[state.stage].append(change)
        return change

    def seconds_left(self) -> dict[StageName, float]:
        """Seconds left of each unfinished stage; empty where the budget is in steps."""
        return self._planner.seconds_left() if self._planner is not None else self._state.seconds_left

    def _wanted(self) -> Schedule | None:
        schedule, taken = self.schedule(), self._state.step
        change = self._planner.change(schedule, taken) if self._planner is not None else None
        if self._threads is not None and taken < schedule.steps:
            now = torch.get_num_threads()
            threads = self._threads.wanted(now)
            if threads != now:
                reason = "threads" if change is None else change.reason
                change = replace(change or schedule, step=taken, threads=threads, reason=reason)
        return change
