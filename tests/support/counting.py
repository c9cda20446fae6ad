"""A task that is learnt in a few steps, counting upwards, and trainings of it, for several tests."""

import json

import numpy as np
import torch
from rows import ArrayRows, batches_of_rows, join

from tinylm.config import make_config
from tinylm.evaluation import make_windows
from tinylm.run_folder import RunFolder, TrainState, load_state
from tinylm.training.callbacks import CallbackList, StopWhen, TrainingCallback
from tinylm.training.checkpoint import load_weights
from tinylm.training.model import LanguageModel
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.trainer import Trainer

VOCABULARY, CONTEXT, BOS = 280, 16, 1
PIECES = [str(number) for number in range(VOCABULARY)]
MODEL = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "nhead": 2,
    "num_layers": 1,
    "dim_feedforward": 32,
    "context_length": CONTEXT,
}
TRAIN = {"steps": 8, "batch_size": 4, "validations": 2, "precision": "fp32", "device": "cpu", "threads": 1}


def config_of(model=None, **train):
    return make_config({"model": {**MODEL, **(model or {})}, "train": {**TRAIN, **train}})


def make_model(config, seed=0):
    torch.manual_seed(seed)
    return LanguageModel(config.model)


def counting_rows(count=12, seed=0, holes=False):
    """Rows that count upwards: what comes next follows from what is there."""
    starts = np.random.default_rng(seed).integers(10, 40, count)
    ids = (starts[:, None] + np.arange(CONTEXT + 1)).astype(np.uint16)
    ids[:, 0] = BOS
    supervised = np.ones(ids.shape, bool)
    if holes:
        supervised = np.random.default_rng(seed + 1).random(ids.shape) < np.linspace(0.1, 0.9, count)[:, None]
        supervised[:, 1] = True
    return batches_of_rows(ArrayRows(ids, supervised), seed)


def counting_windows():
    return make_windows(join([list(range(12, 50)), list(range(20, 33))]), CONTEXT, BOS)


def stages_of(*names, validation=True, batches=None):
    windows = counting_windows() if validation else []
    return [
        Stage(name, batches or counting_rows(seed=number, holes=name == "finetune"), windows, 0.02 / (number + 1))
        for number, name in enumerate(names)
    ]


BOTH = ("pretrain", "finetune")


def make_trainer(path, config, *, names=BOTH, stages=None, model=None, state=None, **options):
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    task = Task(model or make_model(config), stages or stages_of(*names), np.ones(VOCABULARY, np.int64))
    ranks, callbacks = options.pop("ranks", None), options.pop("callbacks", None) or TrainingCallback()
    stop = StopWhen(options.pop("should_stop", None) or (lambda: False))
    return Trainer(
        RunFolder(path),
        config,
        task,
        state or NewTraining(**options),
        callbacks=CallbackList(callbacks, stop),
        ranks=ranks,
    )


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def saved_weights(path, config, name="last"):
    model = make_model(config, seed=99)
    load_weights(RunFolder(path).checkpoint(name), model, PIECES, PIECES)
    return weights(model)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def metrics(path):
    """What was logged, but for times."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


def finished_state(path):
    state = load_state(RunFolder(path).checkpoint("last"))
    assert state.finished
    state.seconds = 0.0
    return state


class Warnings(TrainingCallback):
    """Appends the warnings of a training to a list."""

    def __init__(self, words):
        self.words = words

    def on_warning(self, message):
        self.words.append(message)


class Killed(BaseException):
    """Stands for a process that ends here."""


def resume(path, config, **options):
    """Go on as a fresh process would: a model of other weights, loaded from the last checkpoint."""
    state = load_state(RunFolder(path).checkpoint("last"))
    model = make_model(config, seed=1234)
    load_weights(RunFolder(path).checkpoint("last"), model, PIECES, PIECES)
    torch.manual_seed(4321)
    return make_trainer(path, config, model=model, state=state, **options)


def replay(path, config, state):
    """The model of an undisturbed run that follows the schedules of another from the beginning."""
    model = make_model(config)
    begun = TrainState(
        stage=next(iter(state.schedules)),
        step=0,
        plan={stage: schedules[0].steps for stage, schedules in state.schedules.items()},
        schedules={stage: list(schedules) for stage, schedules in state.schedules.items()},
        model=config.model,
    )
    finished = make_trainer(path, config, names=tuple(state.schedules), model=model, state=begun).train()
    assert finished.finished
    assert finished.schedules == state.schedules
    return model


class Stopper:
    """Asks to stop after certain steps, counted over all stages and processes."""

    def __init__(self, *steps):
        self.steps, self.taken = steps, 0

    def __call__(self):
        self.taken += 1
        return self.taken in self.steps


class Spoiling:
    """Batches that spoil the model when a certain one is asked for."""

    def __init__(self, spoil, at):
        self.rows, self.spoil, self.at = counting_rows(), spoil, at

    def batch(self, index, size):
        if index == self.at:
            self.spoil()
        return self.rows.batch(index, size)


class Listener(TrainingCallback):
    """Remembers what it was told."""

    def __init__(self):
        self.started, self.steps, self.validations = [], [], []

    def on_stage_start(self, stage, step, steps):
        self.started.append((stage, step, steps))

    def on_step(self, report):
        self.steps.append(report)

    def on_validation(self, stage, step, result, is_best):
        self.validations.append((stage, step, result, is_best))
