"""The training loop: one for both stages, resumable bit for bit."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from tinylm.config import Config
from tinylm.data.dataset.batches import Batch
from tinylm.errors import RunError
from tinylm.evaluation import IGNORED, Score, Window, score
from tinylm.files import temporary_folder
from tinylm.run_folder import RunFolder, Schedule, StageName, TrainState, load_state
from tinylm.run_log import RunLogWriter
from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample
from tinylm.training.checkpoint import load_optimizer, load_parameters, save_checkpoint
from tinylm.training.checkpoint_history import checkpoint_to_go_back_to, keep_checkpoint
from tinylm.training.distributed import Ranks, whole
from tinylm.training.divergence import RATE_FACTOR, DivergedError, lasting_divergence, require_finite, watch_loss
from tinylm.training.hardware import prepare_process
from tinylm.training.loss import LossComputer
from tinylm.training.mfu import peak_flops, training_flops
from tinylm.training.optimizer import Optimizer
from tinylm.training.pace import Pace
from tinylm.training.schedule import rate_factor, validates_at
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.step_budget import SAMPLES_SHARE, divide_steps, mean_seconds, plan_for_time
from tinylm.training.step_timer import MeasuredStep, Meter, TakenStep
from tinylm.training.window_losses import window_losses

CHECKPOINT_SECONDS = 300.0


class Trainer:
    """Trains a model through its stages and writes the run folder.

    Args:
        run: an existing run folder; see `RunFolder.create`.
        config: the run's configuration, device and precision resolved (see `tinylm.training.hardware`).
        task: the model and the stages of its training.
        start: a new run, or the state in which an earlier process stopped.
        callbacks: in other processes than the main one, only `should_stop` should do something.
        sampler: generates samples of the model for a stage; called after validations as long as that takes less than
            1 % of the time, and at the end of a stage. It must leave torch's random numbers as they are and not raise.
        ranks: the processes that train together, each with its own trainer; the main one writes the folder.
    """

    def __init__(
        self,
        run: RunFolder,
        config: Config,
        task: Task,
        start: TrainState | NewTraining,
        *,
        callbacks: TrainingCallback | None = None,
        sampler: Callable[[StageName], Sequence[TrainingSample]] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        prepare_process()
        self.run, self.config, self.stages, self.byte_lengths = run, config, list(task.stages), task.byte_lengths
        self.ranks = ranks or Ranks()
        if config.train.batch_size % self.ranks.size:
            raise RunError(
                f"train.batch_size ({config.train.batch_size}) must be divisible by the number of processes "
                f"({self.ranks.size})"
            )
        self.device = torch.device(config.train.device)
        self.model = task.model.to(self.device)
        self.callbacks = callbacks or TrainingCallback()
        self.sampler, self._sampler_seconds = sampler, 0.0
        self._log_writer = RunLogWriter(run.metrics, self.callbacks.on_warning)
        self._resumed = isinstance(start, TrainState)
        if isinstance(start, TrainState):
            self.state, self._deadline = start, None
        else:
            self.state = TrainState(stage=self.stages[0].name, step=0, plan={}, model=config.model)
            self._deadline = start.deadline
            self.state.follows_load = start.follow_load and self.device.type == "cpu" and self.ranks.size == 1
        self.compute = LossComputer(self.model, config.train, self.callbacks.on_warning, self.ranks)
        self._peak = peak_flops(self.device)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self._pace = Pace(self.state, config.train, self.ranks)

    def train(self) -> TrainState:
        """Train to the end, or until a callback asks to stop.

        Returns:
            the state; the last checkpoint is saved whether it is `finished` or not.

        Raises:
            RunError: the loss diverges again and again.
            TinyLMError: a checkpoint cannot be written.
        """
        names = [stage.name for stage in self.stages]
        self.ranks.on_main(self._clean_up)
        if not self.state.schedules and self.state.plan:  # of a version that did not keep schedules
            self._pace.plan(self.state.plan, {}, 0)
        if not self.state.schedules:
            try:
                self._plan()
            except DivergedError as problem:
                raise RunError(f"the loss {problem.reason} before the first step") from None
            self._save_last(self._new_optimizer(), keep=True)
        self.callbacks.on_plan(self.state.plan)
        for position in range(names.index(self.state.stage), len(self.stages)):
            stage = self.stages[position]
            if self.state.stage != stage.name:
                self._enter(stage)
            if not self._train_stage(stage, last=position == len(self.stages) - 1):
                return self.state
        self.state.finished = True
        self._save_last(None)
        return self.state

    def _clean_up(self) -> None:
        """Remove log lines after the last checkpoint, and unfinished files of an earlier process that was killed."""
        self._log_writer.trim([stage.name for stage in self.stages], self.state.stage, self.state.step)
        for leftover in self.run.checkpoints.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def validate(self, stage: Stage) -> Score:
        """Score the model on a stage's held-out windows."""
        self.model.eval()
        with torch.no_grad(), self.compute.autocast():
            result = score(self._window_losses, stage.validation, self.byte_lengths)
        self.model.train()
        return result

    def _enter(self, stage: Stage) -> None:
        state = self.state
        state.stage, state.step = stage.name, 0
        state.best_loss = state.best_bits_per_byte = state.smoothed_loss = state.lowest_loss = None
        state.rollbacks, state.rolled_back_to, state.rate_factor = 0, None, 1.0
        state.rises, state.overfits = 0, False
        self._pace.enter()
        self._save_last(self._new_optimizer(), keep=True)

    def _train_stage(self, stage: Stage, last: bool) -> bool:
        """Take the remaining steps of a stage. Returns False if training was stopped before its end."""
        state, settings = self.state, self.config.train
        self.model.train()
        optimizer = self._new_optimizer()
        if self._resumed and state.step:
            load_optimizer(self.run.checkpoint("last"), optimizer, self.ranks)
        # The earlier process may have been killed just before it did this
        due = self._resumed and validates_at(state.step, state.plan[stage.name], settings.validations)
        if due:
            self.ranks.on_main(self._keep_if_there)
        self._resumed = False
        self.callbacks.on_stage_start(stage.name, state.step, state.plan[stage.name])
        saved = time.monotonic()
        meter = Meter(self.device)
        self._pace.start(lambda: self._rehearse(stage), stage.most_steps)
        while state.step < (schedule := self._schedule(optimizer, meter)).steps:
            factor = rate_factor(schedule, state.step) * state.rate_factor
            try:
                meter.add(self._step(stage, optimizer, stage.learning_rate * factor))
                state.step += 1
                stopping, late, due = self.ranks.any(
                    self.callbacks.should_stop(),
                    self.ranks.is_main and time.monotonic() - saved > CHECKPOINT_SECONDS,
                    self.ranks.is_main and meter.due,
                )
                validate = validates_at(state.step, schedule.steps, settings.validations)
                save = validate or stopping or late
                if due or save:
                    self._account(stage, meter)
                began = time.monotonic()
                if validate:
                    self._validate_and_keep_best(stage)
            except DivergedError as problem:
                optimizer = self._roll_back(stage, problem)
                meter = Meter(self.device)
                continue
            if validate:
                self._take_samples(stage, at_end=state.step == schedule.steps)
            if save:
                self._save_last(optimizer, keep=validate)
                saved = time.monotonic()
                meter.restart()
            if validate:
                self._pace.add_validation(time.monotonic() - began)
            if stopping and not (last and state.step == schedule.steps):
                return False
        if not stage.validation:
            save_checkpoint(self.run.checkpoint("best"), self.model, None, state, self.ranks)
        return True

    def _step(self, stage: Stage, optimizer: Optimizer, learning_rate: float) -> TakenStep:
        """One optimizer step."""
        settings, step = self.config.train, self.state.step + 1
        torch.manual_seed(stage.dropout_seed(settings.seed + self.ranks.rank, self.state.step))
        first = self.state.step * settings.accumulate
        batches = [stage.batches.batch(first + part, settings.batch_size) for part in range(settings.accumulate)]
        counted = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
        losses = self.compute.backward([self._own_rows(batch) for batch in batches], max(1, counted))
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf))
        if _reads_before_update(self.device):
            # On a GPU, which would have to wait for it, `_account` checks before anything is saved
            require_finite(sum(loss.item() for loss in losses) + norm.item(), step)
        optimizer.step(learning_rate)
        positions = sum(batch.inputs.size for batch in batches)
        flops = training_flops(self.model, positions, counted)
        return TakenStep(step, learning_rate, losses, norm, positions, flops)

    def _own_rows(self, batch: Batch) -> Batch:
        """The rows of a batch that this process computes."""
        rows, segments = self.ranks.rows_of, batch.segments
        return Batch(rows(batch.inputs), rows(batch.targets), None if segments is None else rows(segments))

    def _account(self, stage: Stage, meter: Meter) -> None:
        """Read the losses of the last steps, check, count, log and report them."""
        for measured in meter.read():
            require_finite(measured.loss + measured.norm, measured.taken.step)
            watch_loss(self.state, measured.loss, measured.taken.step)
            self.state.seconds += measured.seconds
            self.state.tokens += measured.taken.positions
            self._pace.add_step(measured.seconds)
            self._report(stage, measured)
        meter.restart()

    def _report(self, stage: Stage, measured: MeasuredStep) -> None:
        taken, steps = measured.taken, self.state.plan[stage.name]
        utilization = measured.flops_per_second / self._peak if self._peak else None
        rates = taken.learning_rate, measured.tokens_per_second, utilization
        self.callbacks.on_step(StepReport(stage.name, taken.step, steps, measured.loss, *rates))
        if taken.step % max(1, steps // 500) == 0 or taken.step == steps:
            self._log(
                stage=stage.name,
                step=taken.step,
                loss=round(measured.loss, 5),
                learning_rate=taken.learning_rate,
                tokens_per_second=round(measured.tokens_per_second),
                seconds=round(self.state.seconds, 2),
                **({} if utilization is None else {"utilization": round(utilization, 4)}),
            )

    def _window_losses(self, windows: Sequence[Window]) -> float:
        return window_losses(self.compute.loss_sum, windows, self.config.train.batch_size)

    def _validate_and_keep_best(self, stage: Stage) -> None:
        if not stage.validation:
            return
        state = self.state
        result = self.ranks.broadcast(self.validate(stage))
        require_finite(result.loss, state.step)
        self._pace.judge(result.loss, stage.epoch_steps)
        is_best = state.best_loss is None or result.loss < state.best_loss
        if is_best:
            state.best_loss, state.best_bits_per_byte = result.loss, result.bits_per_byte
            save_checkpoint(self.run.checkpoint("best"), self.model, None, state, self.ranks)
        figures = {"validation_loss": round(result.loss, 5), "bits_per_byte": round(result.bits_per_byte, 5)}
        self._log(stage=stage.name, step=state.step, **figures, best=is_best)
        self.callbacks.on_validation(stage.name, state.step, result, is_best)

    def _take_samples(self, stage: Stage, at_end: bool) -> None:
        too_long = self._sampler_seconds > SAMPLES_SHARE * self.state.seconds
        if self.sampler is None or not self.ranks.is_main or (too_long and not at_end):
            return
        started = time.monotonic()
        self.model.eval()
        samples = self.sampler(stage.name)
        self.model.train()
        self._sampler_seconds += time.monotonic() - started
        for sample in samples:
            self._log(stage=stage.name, step=self.state.step, prompt=sample.prompt, sample=sample.text)
        self.callbacks.on_samples(stage.name, self.state.step, samples)

    def _schedule(self, optimizer: Optimizer, meter: Meter) -> Schedule:
        """Return the schedule of the next step. A new schedule is saved first, so that a resumed run repeats it."""
        state, began = self.state, time.monotonic()
        change, schedule = self._pace.change(), self._pace.schedule()
        if schedule.threads and schedule.threads != torch.get_num_threads():
            torch.set_num_threads(schedule.threads)
        if schedule.steps != state.plan[state.stage]:
            state.plan[state.stage] = schedule.steps
            self.callbacks.on_plan(state.plan)
        if change is not None:
            self._save_last(optimizer)
            details = {name: getattr(change, name) for name in ("reason", "steps", "decay_start", "threads")}
            place = state.stage, state.step
            self.ranks.on_main(lambda: self._log_writer.append_event(*place, "rescheduled", **details))
            if change.reason == "overfitting":
                self.callbacks.on_warning(
                    f"{state.stage}: the loss on held-out data rises after step {state.step:,}, so the learning rate "
                    f"falls from now on: {change.steps:,} steps in all"
                )
        meter.skip(time.monotonic() - began)
        return schedule

    def _rehearse(self, stage: Stage) -> None:
        """Compute the first pass of the next step and discard the result, to measure its time."""
        settings = self.config.train
        batch = stage.batches.batch(self.state.step * settings.accumulate, settings.batch_size)
        (loss,) = self.compute.backward([batch], 1)
        loss.item()
        self.model.zero_grad(set_to_none=True)

    def _plan(self) -> None:
        """Schedule the steps of all stages, from the configuration or from the time that is left."""
        names, settings = [stage.name for stage in self.stages], self.config.train
        threads = self._pace.first_threads(lambda: self._rehearse(self.stages[0]))
        if settings.steps:
            self._pace.plan(divide_steps(names, settings), {}, threads)
            return
        assert self._deadline is not None, "a run without steps needs a deadline"
        measured = plan_for_time(self.stages, settings, self._deadline, self._calibrate)
        self._pace.plan(*self.ranks.broadcast(measured), threads)

    def _calibrate(self, stage: Stage, seconds: float) -> tuple[float, float]:
        """Measure the seconds of a step and of a validation with its checkpoint, at a learning rate of 0."""
        optimizer = self._new_optimizer()
        # In fine-tuning, another number of targets compiles once more
        step_seconds = mean_seconds(
            lambda: self._step(stage, optimizer, 0.0).norm.item(),
            seconds,
            3 if self.compute.compiled else 1,
            self.ranks,
        )
        started = time.monotonic()
        if stage.validation:
            self.validate(stage)
        with temporary_folder(self.run.checkpoints) if self.ranks.is_main else nullcontext(Path()) as folder:
            save_checkpoint(folder / "probe", self.model, optimizer, self.state, self.ranks)
        return step_seconds, (time.monotonic() - started) * 1.5

    def _save_last(self, optimizer: Optimizer | None, keep: bool = False) -> None:
        """Save the last checkpoint, and with `keep` a copy among the earlier checkpoints."""
        self.state.seconds_left = self._pace.seconds_left()
        save_checkpoint(self.run.checkpoint("last"), self.model, optimizer, self.state, self.ranks)
        if keep:
            self.ranks.on_main(self._keep_if_there)

    def _keep_if_there(self) -> None:
        if self.run.checkpoint("last").is_dir():
            keep_checkpoint(self.run, self.state, self.config.train.keep_checkpoints)

    def _new_optimizer(self) -> Optimizer:
        return Optimizer(self.model, self.config.train, self.ranks, self.state.stage)

    def _log(self, **values: Any) -> None:
        if self.ranks.is_main:
            self._log_writer.append(**values)

    def _roll_back(self, stage: Stage, problem: DivergedError) -> Optimizer:
        """Go back to an earlier checkpoint of the stage, at a lower learning rate.

        Raises:
            RunError: there is no such checkpoint, or the stage was rolled back too often.
        """
        state = self.state
        kept = self.ranks.from_main(lambda: checkpoint_to_go_back_to(self.run, stage.name, state.rolled_back_to))
        if state.rollbacks >= self.config.train.max_rollbacks or kept is None:
            raise lasting_divergence(state, problem)
        earlier = self.ranks.from_main(lambda: load_state(kept))
        state.step, state.smoothed_loss, state.lowest_loss = earlier.step, earlier.smoothed_loss, earlier.lowest_loss
        state.rises, state.overfits = earlier.rises, False
        state.rollbacks, state.rolled_back_to = state.rollbacks + 1, earlier.step
        state.rate_factor *= RATE_FACTOR
        load_parameters(kept, self.model, self.ranks)
        optimizer = self._new_optimizer()
        if earlier.step:
            load_optimizer(kept, optimizer, self.ranks)
        self.model.zero_grad(set_to_none=True)
        self._save_last(optimizer)
        details = {"from_step": problem.step, "reason": f"the loss {problem.reason}", "rate_factor": state.rate_factor}

        def log() -> None:
            self._log_writer.trim([each.name for each in self.stages], stage.name, state.step)
            self._log_writer.append_event(stage.name, state.step, "rolled_back", **details)

        self.ranks.on_main(log)
        self.callbacks.on_rollback(stage.name, state.step)
        self.callbacks.on_warning(
            f"the loss {problem.reason} at {stage.name} step {problem.step:,}: back to step {state.step:,}, "
            f"from there at {state.rate_factor:g} of the learning rate"
        )
        return optimizer


def _reads_before_update(device: torch.device) -> bool:
    return device.type == "cpu"
