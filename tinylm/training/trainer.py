"""The training loop: one for both stages, resumable bit for bit."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tinylm.config import Config
from tinylm.errors import RunError
from tinylm.evaluation import IGNORED, Score, Window, score
from tinylm.files import user_errors
from tinylm.run_folder import RunFolder, StageName, TrainState, load_state
from tinylm.run_log import append_event, append_metrics, trim_metrics
from tinylm.training.callbacks import Reporter, Sample, SilentReporter, StepReport
from tinylm.training.checkpoint import load_optimizer, load_parameters, save_checkpoint
from tinylm.training.checkpoint_history import checkpoint_to_go_back_to, keep_checkpoint
from tinylm.training.distributed import Ranks, whole
from tinylm.training.divergence import RATE_FACTOR, DivergedError, require_finite, watch_loss
from tinylm.training.hardware import prepare_process
from tinylm.training.loss import LossComputer
from tinylm.training.mfu import peak_flops, training_flops
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer, learning_rate_factor
from tinylm.training.step_budget import CALIBRATION_SHARE, RESERVED_SHARE, divide_steps, mean_seconds, share_of
from tinylm.training.step_timer import MeasuredStep, Meter, TakenStep
from tinylm.training.window_losses import window_losses

CHECKPOINT_SECONDS = 300.0
_SAMPLES_SHARE = 0.01


class BatchSource(Protocol):
    """An endless sequence of batches, any of which can be asked for at any time."""

    def batch(self, index: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of batch `index`, int64 [size, context_length]; targets may be `IGNORED`."""
        ...


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: pretrain or finetune.
        batches: what is trained on.
        validation: held-out windows; empty where there are none.
        learning_rate: the peak.
    """

    name: StageName
    batches: BatchSource
    validation: Sequence[Window]
    learning_rate: float


class Trainer:
    """Trains a model through its stages and keeps the run folder.

    Args:
        run: an existing run folder; see `RunFolder.create`.
        config: the run's configuration, device and precision resolved (see `tinylm.training.hardware`).
        model: fresh or loaded weights.
        stages: pre-training, fine-tuning or both, in this order.
        byte_lengths: bytes of text of each token id, for bits per byte.
        deadline: `time.monotonic()` at which everything should be done; used where the configuration has no steps.
        state: where an earlier process stopped, to go on there; None to begin.
        reporter: is told what happens.
        sampler: says what the model says as it is in a stage; asked after validations, as long as that takes less than
            1 % of the time, and at a stage's end. It leaves torch's random numbers alone and does not fail.
        should_stop: asked after each step; True saves and leaves.
        notify: told what the user should know.
        ranks: that train together, each in a trainer of its own; one of them keeps the folder and reports.
    """

    def __init__(
        self,
        run: RunFolder,
        config: Config,
        model: LanguageModel,
        stages: Sequence[Stage],
        byte_lengths: NDArray[np.int64],
        *,
        deadline: float | None = None,
        state: TrainState | None = None,
        reporter: Reporter | None = None,
        sampler: Callable[[StageName], Sequence[Sample]] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = lambda _: None,
        ranks: Ranks | None = None,
    ) -> None:
        prepare_process()
        self.run, self.config, self.stages, self.byte_lengths = run, config, list(stages), byte_lengths
        self.ranks = ranks or Ranks()
        if config.train.batch_size % self.ranks.size:
            raise RunError(
                f"train.batch_size ({config.train.batch_size}) must be divisible by the number of processes "
                f"({self.ranks.size})"
            )
        self.device = torch.device(config.train.device)
        self.model = model.to(self.device)
        self.deadline = deadline
        self.reporter: Reporter = reporter if reporter is not None and self.ranks.is_main else SilentReporter()
        self.sampler, self._sampler_seconds = sampler, 0.0
        self.should_stop, self.notify = should_stop, notify
        self._resumed = state is not None
        self.state = state or TrainState(stage=self.stages[0].name, step=0, plan={}, model=config.model)
        self.compute = LossComputer(self.model, config.train, notify, self.ranks)
        self._peak = peak_flops(self.device)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)

    def train(self) -> TrainState:
        """Train to the end, or until asked to stop.

        Returns:
            the state, `finished` or not; the last checkpoint is saved in both cases.

        Raises:
            RunError: the loss diverges again and again.
            TinyLMError: a checkpoint cannot be written.
        """
        names = [stage.name for stage in self.stages]
        self.ranks.on_main(self._clean_up)
        if not self.state.plan:
            try:
                self.state.plan = self._plan()
            except DivergedError as problem:
                raise RunError(f"the loss {problem.reason} before the first step") from None
            self._save_last(self._new_optimizer(), keep=True)
        self.reporter.planned(self.state.plan)
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
        """Remove what an earlier process logged after its last checkpoint, or left when killed while it saved."""
        trim_metrics(self.run.metrics, [stage.name for stage in self.stages], self.state.stage, self.state.step)
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
        self._save_last(self._new_optimizer(), keep=True)

    def _train_stage(self, stage: Stage, last: bool) -> bool:
        """Take a stage's remaining steps. False when asked to stop before its end."""
        state, settings = self.state, self.config.train
        self.model.train()
        steps = state.plan[stage.name]
        optimizer = self._new_optimizer()
        if self._resumed and state.step:
            load_optimizer(self.run.checkpoint("last"), optimizer, self.ranks)
        # Should the earlier process have been killed just before it did this
        due = self._resumed and _is_validation_step(state.step, steps, settings.validations)
        if due:
            self.ranks.on_main(self._keep_if_there)
        self._resumed = False
        self.reporter.stage_started(stage.name, state.step, steps)
        saved = time.monotonic()
        meter = Meter(self.device)
        while state.step < steps:
            factor = learning_rate_factor(state.step, steps, settings.warmup, settings.decay) * state.rate_factor
            try:
                meter.add(self._step(stage, optimizer, stage.learning_rate * factor))
                state.step += 1
                stopping, late, due = self.ranks.any(
                    self.should_stop(),
                    self.ranks.is_main and time.monotonic() - saved > CHECKPOINT_SECONDS,
                    self.ranks.is_main and meter.due,
                )
                validate = _is_validation_step(state.step, steps, settings.validations)
                save = validate or stopping or late
                if due or save:
                    self._account(stage, meter)
                if validate:
                    self._validate_and_keep_best(stage)
            except DivergedError as problem:
                optimizer = self._roll_back(stage, problem)
                meter = Meter(self.device)
                continue
            if validate:
                self._take_samples(stage, at_end=state.step == steps)
            if save:
                self._save_last(optimizer, keep=validate)
                saved = time.monotonic()
                meter.restart()
            if stopping and not (last and state.step == steps):
                return False
        if not stage.validation:
            save_checkpoint(self.run.checkpoint("best"), self.model, None, state, self.ranks)
        return True

    def _step(self, stage: Stage, optimizer: Optimizer, learning_rate: float) -> TakenStep:
        """One optimizer step."""
        settings, step = self.config.train, self.state.step + 1
        # Dropout has no state to save: each step's masks follow from the seed, the stage and the step
        torch.manual_seed(_mix(settings.seed + self.ranks.rank, stage.name, self.state.step))
        first = self.state.step * settings.accumulate
        batches = [stage.batches.batch(first + part, settings.batch_size) for part in range(settings.accumulate)]
        counted = sum(int((targets != IGNORED).sum()) for _, targets in batches)
        own = [(self.ranks.rows_of(inputs), self.ranks.rows_of(targets)) for inputs, targets in batches]
        losses = self.compute.backward(own, max(1, counted))
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf))
        if _reads_before_update(self.device):
            # On a GPU, which would have to wait, `_account` looks before anything is saved
            require_finite(sum(loss.item() for loss in losses) + norm.item(), step)
        optimizer.step(learning_rate)
        positions = sum(inputs.size for inputs, _ in batches)
        flops = training_flops(self.model, positions, counted)
        return TakenStep(step, learning_rate, losses, norm, positions, flops)

    def _account(self, stage: Stage, meter: Meter) -> None:
        """Read the last steps, make sure that they are sound, count, log and report them."""
        for measured in meter.read():
            require_finite(measured.loss + measured.norm, measured.taken.step)
            watch_loss(self.state, measured.loss, measured.taken.step)
            self.state.seconds += measured.seconds
            self.state.tokens += measured.taken.positions
            self._report(stage, measured)
        meter.restart()

    def _report(self, stage: Stage, measured: MeasuredStep) -> None:
        taken, steps = measured.taken, self.state.plan[stage.name]
        utilization = measured.flops_per_second / self._peak if self._peak else None
        self.reporter.stepped(
            StepReport(
                stage.name,
                taken.step,
                steps,
                measured.loss,
                taken.learning_rate,
                measured.tokens_per_second,
                utilization,
            )
        )
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
        is_best = state.best_loss is None or result.loss < state.best_loss
        if is_best:
            state.best_loss, state.best_bits_per_byte = result.loss, result.bits_per_byte
            save_checkpoint(self.run.checkpoint("best"), self.model, None, state, self.ranks)
        self._log(
            stage=stage.name,
            step=state.step,
            validation_loss=round(result.loss, 5),
            bits_per_byte=round(result.bits_per_byte, 5),
            best=is_best,
        )
        self.reporter.validated(stage.name, state.step, result, is_best)

    def _take_samples(self, stage: Stage, at_end: bool) -> None:
        if (
            self.sampler is None
            or not self.ranks.is_main
            or not (at_end or self._sampler_seconds <= _SAMPLES_SHARE * self.state.seconds)
        ):
            return
        started = time.monotonic()
        self.model.eval()
        samples = self.sampler(stage.name)
        self.model.train()
        self._sampler_seconds += time.monotonic() - started
        for sample in samples:
            self._log(stage=stage.name, step=self.state.step, prompt=sample.prompt, sample=sample.text)
        self.reporter.sampled(stage.name, self.state.step, samples)

    def _plan(self) -> dict[StageName, int]:
        """The steps of all stages, from the configuration or from the time that is left."""
        names, settings = [stage.name for stage in self.stages], self.config.train
        if settings.steps:
            return divide_steps(names, settings)
        assert self.deadline is not None, "a run without steps needs a deadline"
        plan: dict[StageName, int] = {}
        for stage in self.stages:
            started = time.monotonic()
            share = share_of(stage.name, names, settings)
            seconds = (self.deadline - started) * (1 - RESERVED_SHARE - _SAMPLES_SHARE) * share
            step_seconds, validation_seconds = self._calibrate(stage, seconds * CALIBRATION_SHARE)
            seconds -= time.monotonic() - started + settings.validations * validation_seconds
            plan[stage.name] = max(1, int(seconds / step_seconds))
        return self.ranks.broadcast(plan)

    def _calibrate(self, stage: Stage, seconds: float) -> tuple[float, float]:
        """Seconds of a step and of a validation with its checkpoint; at a learning rate of 0, nothing is learned."""
        optimizer = self._new_optimizer()
        # Fine-tuning compiles again once it has seen another number of targets
        step_seconds = mean_seconds(
            lambda: self._step(stage, optimizer, 0.0).norm.item(),
            seconds,
            3 if self.compute.compiled else 1,
            self.ranks,
        )
        started = time.monotonic()
        if stage.validation:
            self.validate(stage)
        where = self.run.checkpoints if self.ranks.is_main else None
        with user_errors(self.run.checkpoints), TemporaryDirectory(prefix=".", suffix=".tmp", dir=where) as folder:
            save_checkpoint(Path(folder) / "probe", self.model, optimizer, self.state, self.ranks)
        return step_seconds, (time.monotonic() - started) * 1.5

    def _save_last(self, optimizer: Optimizer | None, keep: bool = False) -> None:
        """Save; with `keep`, as one of the earlier checkpoints too, which are of the same steps in every repetition."""
        save_checkpoint(self.run.checkpoint("last"), self.model, optimizer, self.state, self.ranks)
        if keep:
            self.ranks.on_main(self._keep_if_there)

    def _keep_if_there(self) -> None:
        if self.run.checkpoint("last").is_dir():
            keep_checkpoint(self.run, self.state, self.config.train.keep_checkpoints)

    def _new_optimizer(self) -> Optimizer:
        return Optimizer(self.model, self.config.train, self.ranks)

    def _log(self, **values: Any) -> None:
        if self.ranks.is_main:
            append_metrics(self.run.metrics, **values)

    def _roll_back(self, stage: Stage, problem: DivergedError) -> Optimizer:
        """Go back to an earlier checkpoint of the stage, at a lower learning rate.

        Raises:
            RunError: there is none, or it has happened too often.
        """
        state, settings = self.state, self.config.train
        kept = self.ranks.from_main(lambda: checkpoint_to_go_back_to(self.run, stage.name, state.rolled_back_to))
        if state.rollbacks >= settings.max_rollbacks or kept is None:
            key = "train.learning_rate" if stage.name == "pretrain" else "train.finetune_learning_rate"
            times = f" after {state.rollbacks} rollbacks" if state.rollbacks else ""
            raise RunError(
                f"the loss {problem.reason} at {stage.name} step {problem.step}{times}; "
                f"the last good checkpoint is kept: try a lower {key}"
            )
        earlier = self.ranks.from_main(lambda: load_state(kept))
        state.step, state.smoothed_loss, state.lowest_loss = earlier.step, earlier.smoothed_loss, earlier.lowest_loss
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
            trim_metrics(self.run.metrics, [each.name for each in self.stages], stage.name, state.step)
            append_event(self.run.metrics, stage.name, state.step, "rolled_back", **details)

        self.ranks.on_main(log)
        self.reporter.rolled_back(stage.name, state.step)
        self.notify(
            f"the loss {problem.reason} at {stage.name} step {problem.step:,}: back to step {state.step:,}, "
            f"from there at {state.rate_factor:g} of the learning rate"
        )
        return optimizer


def _reads_before_update(device: torch.device) -> bool:
    return device.type == "cpu"


def _is_validation_step(step: int, steps: int, validations: int) -> bool:
    return step == steps or step * validations // steps != (step - 1) * validations // steps


def _mix(seed: int, stage: str, step: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stage}/{step}".encode(), digest_size=7).digest(), "big")
