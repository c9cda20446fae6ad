"""From files and a configuration to a trained run."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from tinylm.config import Config, TrainConfig, config_values, make_config
from tinylm.data.dataset.preparation import Preparation
from tinylm.data.dataset.stages import StageData
from tinylm.errors import RunError, TinyLMError
from tinylm.evaluation import byte_lengths_of, make_windows
from tinylm.files import new_folder
from tinylm.printable import command_line
from tinylm.processors import usable_threads
from tinylm.provenance import write_imported
from tinylm.run_folder import RunFolder, StageName, TrainState, check_free, load_state
from tinylm.run_log import RunLogWriter
from tinylm.signatures import takes_fields_of
from tinylm.tokenizer import Tokenizer
from tinylm.training.autosize import SizeChoice, choose
from tinylm.training.callbacks import CallbackList, StopWhen, TrainingCallback
from tinylm.training.checkpoint import load_parameters
from tinylm.training.checkpoint_history import make_last_readable
from tinylm.training.distributed import Ranks, start_ranks
from tinylm.training.hardware import machine_facts, resolve_compile, resolve_hardware
from tinylm.training.initial_run import InitialRun
from tinylm.training.memory import is_out_of_memory, out_of_memory
from tinylm.training.model import LanguageModel
from tinylm.training.options import TrainingOptions, check_init, own_settings, requested_config, require_data
from tinylm.training.pretrained_plan import FurtherTraining, plan_further
from tinylm.training.progress import ProgressLines
from tinylm.training.reply_measurement import log_reply_quality, measurement_seconds
from tinylm.training.run_lock import locked, remove_abandoned
from tinylm.training.run_report import RunReport
from tinylm.training.samples import SampleGenerator
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.stopping import StopRequest, stop_on_signals
from tinylm.training.trained_run import TrainedRun, last_scores
from tinylm.training.trained_weights import count_parameters, prepare_model
from tinylm.training.trainer import Trainer

# Of the minutes, for the report after training
_REPORT_SECONDS, _REPORT_SHARE = 3.0, 0.05


@dataclass(frozen=True)
class _Call:
    """One call of `train`: its arguments, processes and callbacks."""

    options: TrainingOptions
    ranks: Ranks
    callbacks: TrainingCallback
    stop: StopRequest


@dataclass(frozen=True)
class _Parts:
    """What a run is trained from."""

    run: RunFolder
    init: InitialRun | None
    config: Config
    tokenizer: Tokenizer
    model: LanguageModel
    data: Mapping[StageName, StageData]
    preparation: Preparation


@takes_fields_of(TrainingOptions)
def train(options: TrainingOptions) -> TrainedRun:  # noqa: D417 - its parameters are the fields of the options
    """Train a model: pre-training on raw text, then fine-tuning on conversations; either alone works too.

    The same as the command `tinylm train`. The first interrupt (Ctrl-C, the stop button of a notebook, SIGTERM or
    SIGHUP) completes the step, saves, and lets `train` return a run whose `finished` is False. A second one raises
    KeyboardInterrupt at once; the last checkpoint remains. An interrupt before the first step raises KeyboardInterrupt
    and leaves no run folder.

    Args:
        pretrain: raw text for stage 1: a path, or several; files, folders and globs, as `PATH` or `PATH=WEIGHT`.
        finetune: conversations for stage 2, likewise.
        out: the run folder, which must not exist; by default `runs/<date>-<time>`.
        config: hyperparameters: a TOML file, a mapping of sections, or a `Config`, of which every value counts as set.
        settings: single hyperparameters, as `{"model.d_model": 256}` or `["model.d_model=256"]`.
        steps: the budget in optimizer steps, both stages together.
        minutes: the budget in minutes of wall clock for the whole call; model size, vocabulary and batch size are
            chosen for it unless they are set.
        device_tokens_per_second: decode speed of the demo model where the model will run, as `tinylm bench` shows it
            there; of about equally good sizes, the fastest there is chosen.
        init: a run to start from: its weights, shape and tokenizer.
        new_tokenizer: with `init`, train a new tokenizer and match the rows of the vocabulary by piece.
        assistant: whose messages are the assistant's, in chats of people by name.
        user: whose messages are the user's there; by default everyone else's.
        documents: what parts the documents of a text file: `blank-lines`, `file` (nothing does) or a line; by default
            lines `<|endoftext|>`, else blank lines unless they part paragraphs of running prose.
        resume: a stopped run to continue, exactly as it was begun; no other argument but `tensorboard`, `progress`,
            `callbacks` and `should_stop` may be given.
        tensorboard: write event files for TensorBoard into the run folder.
        progress: print progress, information and warnings as lines to standard output.
        callbacks: see `TrainingCallback`.
        should_stop: called after every step; True saves and returns.

    Returns:
        the run, finished or not; its last checkpoint is saved in both cases.

    Raises:
        ConfigError: an argument, section, key or value is wrong.
        DataError: a file cannot be read as what it should be.
        RunError: the run folder exists, is locked or broken, or the loss diverges again and again.
        TinyLMError: something cannot be written. All of these are one line for the user.
        KeyboardInterrupt: interrupted before the first step, or twice.
    """
    return run_training(options)


def run_training(options: TrainingOptions, *callbacks: TrainingCallback) -> TrainedRun:
    """Train with the arguments of `train` as one object, and with further callbacks."""
    run = RunFolder(Path(options.resume or options.out or _default_out()))
    with (
        start_ranks() as ranks,
        closing(_all_callbacks(options, callbacks, ranks)) as listening,
        stop_on_signals(listening.on_message) as stop,
        _report_interrupt(listening, run),
    ):
        call = _Call(options, ranks, listening, stop)
        try:
            return _begin(call, run) if options.resume is None else _resume(call, run)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise out_of_memory() from None
            raise


def _default_out() -> Path:
    return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")


def _all_callbacks(options: TrainingOptions, callbacks: Sequence[TrainingCallback], ranks: Ranks) -> CallbackList:
    """The callbacks of this process; none in other processes than the main one."""
    if not ranks.is_main:
        return CallbackList()
    first = [*([ProgressLines()] if options.progress else []), *callbacks, *options.callbacks]
    if options.tensorboard:
        from tinylm.training.tensorboard import TensorBoardCallback

        first.append(TensorBoardCallback())
    shown = CallbackList(*first)
    return CallbackList(shown, RunReport(shown.on_warning))


@contextmanager
def _report_interrupt(callbacks: TrainingCallback, run: RunFolder) -> Iterator[None]:
    """Tell the user what remains of a run after a KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt:
        if run.checkpoint("last").is_dir():
            callbacks.on_message(
                f"Stopped at once. The last checkpoint is complete; continue with:\n  {_resume_command(run)}"
            )
        else:
            callbacks.on_message("Stopped before the first step: no run folder is kept")
        raise


def _begin(call: _Call, run: RunFolder) -> TrainedRun:
    """Train a new run."""
    options, ranks, callbacks = call.options, call.ranks, call.callbacks
    config, given = ranks.from_main(lambda: requested_config(options))
    require_data(config)
    check_init(config, options.init)
    ranks.on_main(lambda: _check_place(run))
    config = ranks.broadcast(_with_hardware(config, ranks))
    init = InitialRun.of(options.init)
    trains_tokenizer = init is None or options.new_tokenizer
    preparation = _prepare(call, config, trains_tokenizer)
    config = ranks.from_main(lambda: _with_choices(call, config, given, preparation, init))
    if init is None or options.new_tokenizer:
        tokenizer = ranks.from_main(lambda: preparation.tokenizer(config))
    else:
        tokenizer = init.tokenizer()
    config = _changed(config, "model", vocab_size=tokenizer.vocab_size)
    data = ranks.one_first(lambda: preparation.stages(config, tokenizer))
    model = _new_model(config, tokenizer, init, callbacks)
    parts = _Parts(run, init, config, tokenizer, model, data, preparation)
    ranks.on_main(lambda: _create_run(parts, callbacks.on_warning))
    budget = 60 * config.train.minutes
    deadline = call.options.started + budget - min(_REPORT_SECONDS, _REPORT_SHARE * budget)
    if "finetune" in data:
        deadline -= measurement_seconds(budget)
    try:
        with locked(run) if ranks.is_main else nullcontext():
            return _fit(call, parts, NewTraining(deadline, follow_load="train.threads" not in given))
    except BaseException:
        # Without a single checkpoint there is nothing to continue
        if ranks.is_main and not run.checkpoint("last").is_dir():
            shutil.rmtree(run.path.resolve(), ignore_errors=True)
        raise


def _resume(call: _Call, run: RunFolder) -> TrainedRun:
    """Continue a run from its last checkpoint."""
    ranks = call.ranks
    if ranks.is_main and not run.config.is_file():
        ranks.on_main(run.check)
    with locked(run) if ranks.is_main else nullcontext():
        config, tokenizer, state = ranks.from_main(lambda: _load_stopped(call, run))
        preparation = _prepare(call, config, trains_tokenizer=False)
        ranks.on_main(lambda: preparation.check_unchanged(run))
        data = ranks.one_first(lambda: preparation.stages(config, tokenizer))
        model = LanguageModel(config.model)
        prepare_model(model, config.train)
        load_parameters(run.checkpoint("last"), model, ranks)
        log = RunLogWriter(run.metrics, call.callbacks.on_warning)
        ranks.on_main(lambda: log.append_event(state.stage, state.step, "resumed", **machine_facts()))
        return _fit(call, _Parts(run, None, config, tokenizer, model, data, preparation), state)


def _fit(call: _Call, parts: _Parts, start: TrainState | NewTraining) -> TrainedRun:
    """Run the training loop on what is prepared."""
    run, config, ranks, callbacks = parts.run, parts.config, call.ranks, call.callbacks
    callbacks.on_message(_headline(parts, ranks))
    # Weights in parts can only be used by all processes together
    generates = ranks.is_main and not (config.train.sharded and ranks.size > 1)
    sampler = SampleGenerator(config.train, parts.model, parts.tokenizer, callbacks.on_warning) if generates else None
    task = Task(parts.model, _stages(parts), byte_lengths_of(parts.tokenizer))
    stops = StopWhen(lambda: call.stop.made), StopWhen(call.options.should_stop)
    trainer = Trainer(run, config, task, start, callbacks=CallbackList(callbacks, *stops), sampler=sampler, ranks=ranks)
    callbacks.on_start(run)
    call.stop.training = True
    try:
        state = trainer.train()
    except Exception as problem:
        error = out_of_memory(config, ranks.size) if is_out_of_memory(problem) else problem
        callbacks.on_end(run, trainer.state, error)
        if isinstance(error, RunError) or not isinstance(error, TinyLMError):
            raise
        whole = ranks.is_main and run.checkpoint("last").is_dir()
        hint = f". The last checkpoint is whole: {_resume_command(run)}" if whole else ""
        raise TinyLMError(f"{error}{hint}") from None
    finally:
        call.stop.training = False
    if state.finished and state.stage == "finetune" and ranks.is_main:
        seconds = measurement_seconds(60 * config.train.minutes)
        log_reply_quality(run, state, parts.preparation.training_texts(), seconds, callbacks.on_warning)
    callbacks.on_end(run, state, None)
    return TrainedRun(run, state, ranks.from_main(lambda: last_scores(run)))


def _prepare(call: _Call, config: Config, trains_tokenizer: bool) -> Preparation:
    """Survey the data files, and make sure that all processes see the same ones."""
    inform, warn = call.callbacks.on_message, call.callbacks.on_warning
    preparation = call.ranks.one_first(lambda: Preparation(config, trains_tokenizer, inform, warn))
    if not call.ranks.same(preparation.hashes):
        raise RunError("the processes see different data files; put the same ones on every machine")
    return preparation


def _with_hardware(config: Config, ranks: Ranks) -> Config:
    """Fill in device, precision, compilation and threads of this machine."""
    device, precision = resolve_hardware(config.train)
    compiled = resolve_compile(config.train, device)
    threads = config.train.threads or usable_threads(ranks.local_size)
    return _changed(config, "train", device=device, precision=precision, compile=compiled, threads=threads)


def _with_choices(
    call: _Call, config: Config, given: set[str], preparation: Preparation, init: InitialRun | None
) -> Config:
    """Choose what is not given: how a large model is trained further, or size, vocabulary and batch for the minutes."""
    options = call.options
    torch.set_num_threads(config.train.threads)
    text_bytes, spent, processes = preparation.text_bytes, time.monotonic() - options.started, call.ranks.size
    learns = options.new_tokenizer or init is None or ("finetune" in text_bytes and not init.knows_roles())
    choice = SizeChoice(config)
    if init is not None:
        further = FurtherTraining(text_bytes, preparation.example_bytes, learns, spent=spent, processes=processes)
        choice = plan_further(config, own_settings(options), further)
    if not choice.chosen and not config.train.steps:
        choice = choose(config, given, text_bytes, spent=spent, processes=processes)
    for line in choice.lines:
        call.callbacks.on_message(line)
    config = choice.config
    if config.train.lora_rank and config.train.freeze_embeddings == "auto":
        config = _changed(config, "train", freeze_embeddings="off" if learns else "on")
    return config


def _changed(config: Config, section: str, **changes: object) -> Config:
    values = config_values(config)
    values[section].update(changes)
    return make_config(values)


def _new_model(
    config: Config, tokenizer: Tokenizer, init: InitialRun | None, callbacks: TrainingCallback
) -> LanguageModel:
    """A model of random weights, or of those of the run `init`."""
    torch.manual_seed(config.train.seed)
    model = LanguageModel(config.model)
    if init is not None:
        init.load_into(model, tokenizer, callbacks.on_warning)
    prepare_model(model, config.train)
    return model


def _check_place(run: RunFolder) -> None:
    remove_abandoned(run)
    check_free(run.path)


def _create_run(parts: _Parts, warn: Callable[[str], None]) -> None:
    """Write the run folder as it is before the first step."""
    run, config, preparation = parts.run, parts.config, parts.preparation
    imported = None if parts.init is None else parts.init.imported
    with new_folder(run.path) as folder:
        begun = RunFolder(folder)
        begun.create(config, parts.tokenizer)
        if imported is not None:
            write_imported(begun.imported, imported)
        preparation.record(begun, parts.data)
    facts = preparation.facts(config, parts.data)
    stage = next(iter(parts.data))
    RunLogWriter(run.metrics, warn).append_event(
        stage, 0, "started", data=facts, parameters=count_parameters(parts.model)[0], **machine_facts()
    )


def _load_stopped(call: _Call, run: RunFolder) -> tuple[Config, Tokenizer, TrainState]:
    """Configuration, tokenizer and state of a run that can be continued."""
    run.check()
    make_last_readable(run, call.callbacks.on_warning)
    state = load_state(run.checkpoint("last"))
    if state.finished:
        start = command_line("--init", run.path)
        raise RunError(f"{run.path}: this run has finished; start another from it with {start}")
    return run.load_config(), run.load_tokenizer(), state


def _headline(parts: _Parts, ranks: Ranks) -> str:
    config = parts.config
    parameters, trained = count_parameters(parts.model)
    part = f" ({trained:,} trained{' in adapters' if config.train.lora_rank else ''})" if trained < parameters else ""
    return (
        f"Model: {config.model.arch}, {parameters:,} parameters{part}; {config.train.device} in "
        f"{config.train.precision}, {f'{ranks.size} processes of ' if ranks.size > 1 else ''}"
        f"{config.train.threads} threads. Run folder: {parts.run.path}"
    )


def _stages(parts: _Parts) -> list[Stage]:
    config, bos_id = parts.config, parts.tokenizer.bos_id
    length, most = config.model.context_length, config.data.validation_tokens
    rates: dict[StageName, float] = {
        "pretrain": config.train.learning_rate,
        "finetune": config.train.finetune_learning_rate,
    }
    return [
        Stage(
            name,
            stage.batches,
            make_windows(stage.held_out, length, bos_id, most),
            rates[name],
            *_limits(config.train, stage.batches.rows_per_epoch),
        )
        for name, stage in parts.data.items()
    ]


def _resume_command(run: RunFolder) -> str:
    return command_line("tinylm", "train", "--resume", run.path)


def _limits(settings: TrainConfig, rows_per_epoch: int) -> tuple[int, float]:
    """The most steps that are wanted, and the steps of an epoch."""
    epoch = rows_per_epoch / (settings.batch_size * settings.accumulate)
    return max(1, math.ceil(settings.max_epochs * epoch)) if settings.max_epochs else sys.maxsize, epoch
