"""`tinylm train`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinylm.cli.console import notice, say
from tinylm.cli.display.reporters import require_tensorboard
from tinylm.cli.options import FILE, FOLDER, NumberRange
from tinylm.cli.stopping import StopRequest, stop_request
from tinylm.errors import RunError, TinyLMError
from tinylm.processors import usable_threads

if TYPE_CHECKING:
    from tinylm.config import Config
    from tinylm.data.dataset.stages import StageData
    from tinylm.run_folder import RunFolder, StageName, TrainState
    from tinylm.tokenizer import Tokenizer
    from tinylm.training.distributed import Ranks
    from tinylm.training.model import LanguageModel
    from tinylm.training.trainer import Stage

# Of the minutes, for the report after training
_REPORT_SECONDS, _REPORT_SHARE = 3.0, 0.05


@click.command("train")
@click.option(
    "--pretrain",
    multiple=True,
    metavar="PATH[=WEIGHT]",
    help="Raw text for stage 1: a file, a folder or a quoted glob. Seen WEIGHT times as often, as in notes.txt=2. "
    "Repeatable.",
)
@click.option(
    "--finetune", multiple=True, metavar="PATH[=WEIGHT]", help="Conversations for stage 2, likewise. Repeatable."
)
@click.option("--out", type=FOLDER, help="The run's folder.  [default: runs/<date>-<time>]")
@click.option("--config", "config_file", type=FILE, help="A TOML file of hyperparameters.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="One hyperparameter. Repeatable.")
@click.option("--steps", type=click.IntRange(min=1), help="Budget: optimizer steps, both stages together.")
@click.option(
    "--minutes",
    type=NumberRange(min=0, min_open=True),
    help="Budget: wall clock of this whole command, tokenizer and validation included.",
)
@click.option("--init", "init", type=FOLDER, help="Start from another run's weights and tokenizer.")
@click.option(
    "--new-tokenizer",
    is_flag=True,
    help="With --init: train a new tokenizer on the data, and match the weights' rows by piece.",
)
@click.option("--resume", type=FOLDER, help="Go on with a run that was stopped.")
@click.option("--tensorboard", is_flag=True, help="Write the curves for TensorBoard too, into the run's folder.")
@click.option("--show-config", is_flag=True, help="Print the configuration with every default, and leave.")
def command(
    pretrain: tuple[str, ...],
    finetune: tuple[str, ...],
    out: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    init: Path | None,
    new_tokenizer: bool,
    resume: Path | None,
    tensorboard: bool,
    show_config: bool,
) -> None:
    """Train a model: pre-training on raw text, then fine-tuning on conversations; either alone works too."""
    started = time.monotonic()
    if steps is not None and minutes is not None:
        raise click.UsageError("--steps and --minutes are two ways to say the budget: give one")
    if resume is not None:
        if pretrain or finetune or out or config_file or overrides or steps or minutes or init or show_config:
            raise click.UsageError("--resume goes on with the run exactly as it was begun: give no other option")
        if tensorboard:
            require_tensorboard()
        from tinylm.training.distributed import start_ranks

        with start_ranks() as ranks, stop_request() as stop, _leaving(resume):
            _resume(resume, started, tensorboard, stop, ranks)
        return
    if new_tokenizer and init is None:
        raise click.UsageError("--new-tokenizer goes with --init; without it the tokenizer is always new")

    from tinylm.config import config_to_toml, config_values, given_values, make_config

    given = given_values(config_file, overrides, _base_values(init))
    values = config_values(make_config(given, str(config_file) if config_file is not None else None))
    if steps is not None:
        values["train"]["steps"] = steps
    if minutes is not None:
        values["train"]["minutes"], values["train"]["steps"] = minutes, 0
    if pretrain:
        values["data"]["pretrain"] = [str(Path(path).absolute()) for path in pretrain]
    if finetune:
        values["data"]["finetune"] = [str(Path(path).absolute()) for path in finetune]
    config = _remake(values)
    if show_config:
        click.echo(config_to_toml(config), nl=False)
        return
    if not config.data.pretrain and not config.data.finetune:
        raise click.UsageError(
            "nothing to train on: give --pretrain TEXT and/or --finetune CHATS "
            "(`tinylm data world world/` writes a small world to try with)"
        )
    if tensorboard:
        require_tensorboard()
    if config.data.replay and not config.data.pretrain:
        raise click.UsageError("data.replay mixes raw text into fine-tuning: give --pretrain TEXT too")
    by_hand = {f"{section}.{key}" for section, table in given.items() for key in table}
    out = out or Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    from tinylm.training.distributed import start_ranks

    with start_ranks() as ranks, stop_request() as stop, _leaving(out):
        _begin(config, by_hand, out, init, new_tokenizer, started, tensorboard, stop, ranks)


@contextmanager
def _leaving(out: Path) -> Iterator[None]:
    """Say what is left where training ends early by a signal or an error."""
    from tinylm.run_folder import RunFolder

    run = RunFolder(out)
    try:
        yield
    except KeyboardInterrupt:
        if run.checkpoint("last").is_dir():
            say(f"Left at once. The last checkpoint is whole; go on with:\n  tinylm train --resume {out}")
        else:
            say("Stopped before the first step: nothing is kept")
        raise SystemExit(1) from None


def _begin(
    config: Config,
    by_hand: set[str],
    out: Path,
    init: Path | None,
    new_tokenizer: bool,
    started: float,
    tensorboard: bool,
    stop: StopRequest,
    ranks: Ranks,
) -> None:
    """Train a new run; what was not set `by_hand` is chosen where the budget is in minutes."""
    from tinylm.config import config_values
    from tinylm.data.dataset.preparation import Preparation
    from tinylm.files import new_folder
    from tinylm.run_folder import RunFolder, check_free
    from tinylm.run_log import append_event
    from tinylm.tokenizer import Tokenizer
    from tinylm.training.checkpoint import load_run_model, load_weights
    from tinylm.training.hardware import machine_facts, resolve_compile, resolve_hardware
    from tinylm.training.model import LanguageModel
    from tinylm.training.run_lock import locked, remove_abandoned

    def check_place() -> None:
        remove_abandoned(RunFolder(out))
        check_free(out)

    ranks.on_main(check_place)
    device, precision = resolve_hardware(config.train)
    values = config_values(config)
    compiled = resolve_compile(config.train, device)
    threads = config.train.threads or usable_threads(ranks.local_size)
    values["train"].update(device=device, precision=precision, threads=threads, compile=compiled)
    config = ranks.broadcast(_remake(values))
    preparation = ranks.one_first(lambda: Preparation(config, wants_tokenizer=init is None or new_tokenizer))
    if not ranks.same(preparation.hashes):
        raise RunError("the processes see different data files; put the same ones on every machine")
    if not config.train.steps:
        config = ranks.from_main(lambda: _turn_dial(config, by_hand, preparation.text_bytes, started, ranks.size))
    if init is not None and not new_tokenizer:
        tokenizer = RunFolder(init).load_tokenizer()
    else:
        tokenizer = Tokenizer(ranks.from_main(lambda: preparation.tokenizer(config).serialized()))
    values = config_values(config)
    values["model"]["vocab_size"] = tokenizer.vocab_size
    config = _remake(values)
    data = ranks.one_first(lambda: preparation.stages(config, tokenizer))

    import torch

    torch.manual_seed(config.train.seed)
    model = LanguageModel(config.model)
    if init is not None:
        source = RunFolder(init)
        _, init_tokenizer, _ = load_run_model(source)
        load_weights(source.checkpoint_folder("best"), model, tokenizer.pieces(), init_tokenizer.pieces(), notice)

    def make_folder() -> None:
        with new_folder(out) as folder:
            begun = RunFolder(folder)
            begun.create(config, tokenizer)
            preparation.record(begun, data)
        facts = preparation.facts(config, data)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        append_event(
            RunFolder(out).metrics, next(iter(data)), 0, "started", data=facts, parameters=parameters, **machine_facts()
        )

    ranks.on_main(make_folder)
    budget = 60 * config.train.minutes
    deadline = started + budget - min(_REPORT_SECONDS, _REPORT_SHARE * budget)
    try:
        with locked(RunFolder(out)) if ranks.is_main else nullcontext():
            _train(RunFolder(out), config, tokenizer, model, data, None, deadline, tensorboard, stop, ranks)
    except (TinyLMError, KeyboardInterrupt):
        # Without a single checkpoint there is nothing to go on from
        if ranks.is_main and not RunFolder(out).checkpoint("last").is_dir():
            shutil.rmtree(out, ignore_errors=True)
        raise


def _resume(folder: Path, started: float, tensorboard: bool, stop: StopRequest, ranks: Ranks) -> None:
    """Go on with a run."""
    from tinylm.run_folder import RunFolder
    from tinylm.training.run_lock import locked

    run = RunFolder(folder)
    if ranks.is_main and not run.config.is_file():
        ranks.on_main(run.check)
    with locked(run) if ranks.is_main else nullcontext():
        _go_on(run, started, tensorboard, stop, ranks)


def _go_on(run: RunFolder, started: float, tensorboard: bool, stop: StopRequest, ranks: Ranks) -> None:
    """Train on from the last checkpoint of a run that is locked."""
    from tinylm.data.dataset.preparation import Preparation
    from tinylm.run_folder import load_state
    from tinylm.run_log import append_event
    from tinylm.tokenizer import Tokenizer
    from tinylm.training.checkpoint import load_parameters
    from tinylm.training.checkpoint_history import make_last_readable
    from tinylm.training.hardware import machine_facts
    from tinylm.training.model import LanguageModel

    def load() -> tuple[Config, bytes, TrainState]:
        run.check()
        make_last_readable(run, notice)
        state = load_state(run.checkpoint("last"))
        if state.finished:
            raise RunError(f"{run.path}: this run has finished; start another from it with --init {run.path}")
        return run.load_config(), run.load_tokenizer().serialized(), state

    config, model_bytes, state = ranks.from_main(load)
    tokenizer = Tokenizer(model_bytes)
    preparation = ranks.one_first(lambda: Preparation(config, wants_tokenizer=False))
    ranks.on_main(lambda: preparation.check_unchanged(run))
    if not ranks.same(preparation.hashes):
        raise RunError("the processes see different data files; put the same ones on every machine")
    data = ranks.one_first(lambda: preparation.stages(config, tokenizer))
    model = LanguageModel(config.model)
    load_parameters(run.checkpoint("last"), model, ranks)
    ranks.on_main(lambda: append_event(run.metrics, state.stage, state.step, "resumed", **machine_facts()))
    _train(run, config, tokenizer, model, data, state, started, tensorboard, stop, ranks)


def _train(
    run: RunFolder,
    config: Config,
    tokenizer: Tokenizer,
    model: LanguageModel,
    data: Mapping[StageName, StageData],
    state: TrainState | None,
    deadline: float,
    tensorboard: bool,
    stop: StopRequest,
    ranks: Ranks,
) -> None:
    from tinylm.cli.display.reporters import close_log, open_reporters
    from tinylm.evaluation import byte_lengths_of
    from tinylm.training.samples import Sampler
    from tinylm.training.trainer import Trainer

    parameters = sum(parameter.numel() for parameter in model.parameters())
    say(
        f"Model: {config.model.arch}, {parameters:,} parameters; {config.train.device} in {config.train.precision}, "
        f"{f'{ranks.size} processes of ' if ranks.size > 1 else ''}{config.train.threads} threads. "
        f"Run folder: {run.path}"
    )
    # Weights in parts can only be asked by all processes together
    speaks = ranks.is_main and not (config.train.sharded and ranks.size > 1)
    with ExitStack() as stack:
        trainer = Trainer(
            run,
            config,
            model,
            _stages(config, tokenizer, data),
            byte_lengths_of(tokenizer),
            deadline=deadline,
            state=state,
            reporter=open_reporters(stack, run, tensorboard) if ranks.is_main else None,
            sampler=Sampler(config.train, model, tokenizer, notice) if speaks else None,
            should_stop=lambda: stop.made,
            notify=notice,
            ranks=ranks,
        )
        stop.training = True
        try:
            state = trainer.train()
        except TinyLMError as error:
            if not ranks.is_main:
                raise
            close_log(run, trainer.state, "failed", reason=str(error))
            if isinstance(error, RunError) or not run.checkpoint("last").is_dir():
                raise
            raise TinyLMError(f"{error}. The last checkpoint is whole: tinylm train --resume {run.path}") from None
        finally:
            stop.training = False
    if ranks.is_main:
        close_log(run, state, "finished" if state.finished else "stopped")
    if not state.finished:
        say(f"Stopped and saved after {state.stage} step {state.step:,}. Go on with:")
        say(f"  tinylm train --resume {run.path}")
        raise SystemExit(1)
    say(f"Done in {state.seconds / 60:.1f} minutes of training. Curves, samples and advice: {run.report}")
    say("Next:")
    say(f"  tinylm export {run.path} --quantize --out BUNDLE")


def _turn_dial(
    config: Config, by_hand: set[str], text_bytes: Mapping[StageName, float], started: float, processes: int
) -> Config:
    import torch

    from tinylm.training.autosize import choose

    torch.set_num_threads(config.train.threads)
    spent = time.monotonic() - started
    choice = choose(config, by_hand, text_bytes, spent=spent, processes=processes)
    for line in choice.lines:
        say(line)
    return choice.config


def _stages(config: Config, tokenizer: Tokenizer, data: Mapping[StageName, StageData]) -> list[Stage]:
    from tinylm.evaluation import make_windows
    from tinylm.training.trainer import Stage

    rates: dict[StageName, float] = {
        "pretrain": config.train.learning_rate,
        "finetune": config.train.finetune_learning_rate,
    }
    return [
        Stage(
            name,
            prepared.batches,
            make_windows(
                prepared.held_out, config.model.context_length, tokenizer.bos_id, config.data.validation_tokens
            ),
            rates[name],
        )
        for name, prepared in data.items()
    ]


def _base_values(init: Path | None) -> dict[str, dict[str, Any]]:
    """The [model] of the run to start from."""
    if init is None:
        return {}
    from tinylm.config import config_values
    from tinylm.run_folder import RunFolder

    run = RunFolder(init)
    run.check()
    return {"model": config_values(run.load_config())["model"]}


def _remake(values: Mapping[str, Any]) -> Config:
    from tinylm.config import make_config

    return make_config(values)
