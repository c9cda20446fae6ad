"""Computing compiled and reading losses late change speed, and nothing else."""

import functools
import json
import math

import numpy as np
import pytest
import torch
from counting import Warnings

from tinylm.config import make_config
from tinylm.data.dataset.batches import Batch
from tinylm.errors import RunError
from tinylm.evaluation import IGNORED
from tinylm.run_folder import RunFolder, load_state
from tinylm.training import trainer as trainer_module
from tinylm.training.callbacks import TrainingCallback
from tinylm.training.loss import LossComputer
from tinylm.training.model import LanguageModel
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.step_timer import Meter
from tinylm.training.trainer import Trainer

# torch's compiler warns about itself, and that is not ours to mend
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]

MODEL = {
    "vocab_size": 280,
    "d_model": 32,
    "nhead": 2,
    "num_layers": 1,
    "dim_feedforward": 32,
    "context_length": 16,
}
TRAIN = {"steps": 12, "batch_size": 4, "validations": 2, "precision": "fp32", "device": "cpu", "threads": 1}


class Rows:
    """Random rows in which some targets do not count; one of them may spoil the model."""

    def __init__(self, spoil_at=-1, spoil=lambda: None):
        self.spoil_at, self.spoil = spoil_at, spoil

    def batch(self, index, size):
        if index == self.spoil_at:
            self.spoil()
        generator = np.random.default_rng(index)
        ids = generator.integers(0, 280, (size, 17))
        targets = np.where(generator.random((size, 16)) < 0.3, IGNORED, ids[:, 1:])
        return Batch(ids[:, :-1], targets, (generator.random(targets.shape) < 0.1).cumsum(axis=1))


class Listener(TrainingCallback):
    def __init__(self):
        self.reports = []

    def on_step(self, report):
        self.reports.append(report)


def make_trainer(path, rows=None, model_values=None, callbacks=None, **train):
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    config = make_config({"model": {**MODEL, **(model_values or {})}, "train": {**TRAIN, **train}})
    torch.manual_seed(0)
    stage = Stage("finetune", rows or Rows(), [], 0.01)
    model = LanguageModel(config.model)
    lengths = np.ones(280, np.int64)
    return Trainer(RunFolder(path), config, Task(model, [stage], lengths), NewTraining(), callbacks=callbacks)


def weights(trainer):
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def losses(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [(line["step"], line["loss"]) for line in lines]


@pytest.fixture
def late(monkeypatch):
    """As on a GPU: losses are read when something is saved."""
    monkeypatch.setattr(trainer_module, "_reads_before_update", lambda _: False)
    monkeypatch.setattr(Meter, "due", property(lambda _: False))


def test_losses_read_late_are_the_same(tmp_path, monkeypatch, request):
    at_once, later = Listener(), Listener()
    first = make_trainer(tmp_path / "a", callbacks=at_once, accumulate=2)
    state = first.train()
    request.getfixturevalue("late")
    second = make_trainer(tmp_path / "b", callbacks=later, accumulate=2)
    late_state = second.train()
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert [(r.step, r.loss) for r in at_once.reports] == [(r.step, r.loss) for r in later.reports]
    assert state.tokens == late_state.tokens == 12 * 2 * 4 * 16
    assert late_state.seconds > 0
    assert all(report.tokens_per_second > 0 for report in later.reports)


@pytest.mark.parametrize(("at", "kept"), [(0, 0), (3, 0), (8, 6)])
def test_a_loss_without_a_number_is_found_before_anything_is_saved(tmp_path, late, at, kept):
    rows = Rows(at, lambda: trainer.model.embedding.weight.data.fill_(math.nan))
    trainer = make_trainer(tmp_path, rows, max_rollbacks=0)
    with pytest.raises(RunError, match=f"no longer finite at finetune step {at + 1};"):
        trainer.train()
    folder = RunFolder(tmp_path).checkpoint("last")
    assert load_state(folder).step == kept
    assert all(step <= max(at, 0) for step, _ in (losses(tmp_path) if (tmp_path / "metrics.jsonl").exists() else []))


def test_a_compiled_model_learns_the_same(tmp_path, monkeypatch):
    plain = make_trainer(tmp_path / "plain")
    plain.train()
    notes = []
    # The graph is captured and run as it is: what a code generator makes of it is not our concern
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compiled = make_trainer(tmp_path / "compiled", callbacks=Warnings(notes), compile="on")
    compiled.train()
    assert notes == []
    assert compiled.compute.compiled
    for ours, expected in zip(weights(compiled), weights(plain), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_a_model_that_cannot_be_compiled_is_trained_as_it_is(tmp_path, monkeypatch):
    plain = make_trainer(tmp_path / "plain", model_values={"dropout": 0.2}, accumulate=2)
    plain.train()

    def broken(graph, inputs):
        raise OSError("no compiler here")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    notes = []
    trainer = make_trainer(
        tmp_path / "broken", model_values={"dropout": 0.2}, accumulate=2, callbacks=Warnings(notes), compile="on"
    )
    trainer.train()
    assert len(notes) == 1
    assert "cannot be compiled here" in notes[0]
    assert "no compiler here" in notes[0]
    assert "\n" not in notes[0]
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(plain), strict=True))


def test_what_is_no_fault_of_the_compiler_is_no_note(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, compile="on")
    assert isinstance(trainer.compute, LossComputer)

    def wrong(ids, segments):
        raise ValueError("of the model")

    monkeypatch.setattr(trainer.compute._loss, "fast_hidden", wrong)
    with pytest.raises(ValueError, match="of the model"):
        trainer.train()


def test_where_nothing_can_be_compiled_training_goes_on(tmp_path, monkeypatch):
    def refuse(function):
        raise RuntimeError("not supported on this Python")

    monkeypatch.setattr(torch, "compile", refuse)
    notes = []
    trainer = make_trainer(tmp_path, callbacks=Warnings(notes), compile="on")
    assert trainer.train().finished
    assert [note.rpartition(": ")[2] for note in notes] == ["not supported on this Python"]
