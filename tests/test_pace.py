"""Schedules that change while training goes on are followed, logged, saved and repeated bit for bit."""

import time
from dataclasses import replace

import pytest
import torch
from counting import (
    Killed,
    Stopper,
    assert_equal,
    config_of,
    make_trainer,
    metrics,
    replay,
    resume,
    saved_weights,
    stages_of,
    weights,
)

from tinylm.evaluation import Score
from tinylm.run_folder import RunFolder, load_state
from tinylm.training import trainer as trainer_module
from tinylm.training.callbacks import TrainingCallback
from tinylm.training.pace import Pace
from tinylm.training.schedule import with_steps
from tinylm.training.threads import ThreadChooser
from tinylm.training.trainer import Trainer


class Listener(TrainingCallback):
    """Remembers what it was told."""

    def __init__(self):
        self.plans, self.steps, self.warnings = [], [], []

    def on_plan(self, plan):
        self.plans.append(dict(plan))

    def on_step(self, report):
        self.steps.append(report)

    def on_warning(self, message):
        self.warnings.append(message)


def timed(**train):
    return config_of({"dropout": 0.1}, steps=0, minutes=1.0, **train)


def planned(monkeypatch, seconds=60.0, **steps):
    """Let the first plan be these steps; the options that a trainer needs for it."""
    monkeypatch.setattr(trainer_module, "plan_for_time", lambda *_: (steps, dict.fromkeys(steps, seconds)))
    return {"names": tuple(steps), "deadline": time.monotonic() + 60}


def changing(monkeypatch, **changes):
    """Let schedules change as they would for time: in a stage, after which step to how many."""
    wanted = {(stage, step): steps for stage, each in changes.items() for step, steps in each.items()}

    def change(self):
        steps = wanted.pop((self._state.stage, self._state.step), None)
        return steps and with_steps(self.schedule(), self._state.step, steps, 0.5, "time")

    monkeypatch.setattr(Pace, "_wanted", change)


def scoring(monkeypatch, *losses):
    scores = iter(losses)
    monkeypatch.setattr(Trainer, "validate", lambda *_: Score(next(scores), 1, 1))


def test_a_changed_schedule_is_followed_logged_and_repeated(tmp_path, monkeypatch):
    options = planned(monkeypatch, pretrain=12)
    changing(monkeypatch, pretrain={3: 20, 5: 10, 8: 16})
    listener = Listener()
    trainer = make_trainer(tmp_path / "a", timed(), callbacks=listener, **options)
    state = trainer.train()
    found = [(schedule.step, schedule.steps) for schedule in state.schedules["pretrain"]]
    assert found == [(0, 12), (3, 20), (5, 10), (8, 16)]
    assert [plan["pretrain"] for plan in listener.plans] == [12, 20, 10, 16]
    assert state.plan == {"pretrain": 16}
    assert [report.step for report in listener.steps] == list(range(1, 17))
    assert listener.steps[-1].learning_rate < 0.1 * listener.steps[3].learning_rate
    events = [line for line in metrics(tmp_path / "a") if line.get("event") == "rescheduled"]
    assert [(line["step"], line["details"]["steps"]) for line in events] == [(3, 20), (5, 10), (8, 16)]
    assert_equal(weights(trainer.model), weights(replay(tmp_path / "again", timed(), state)))


@pytest.mark.parametrize("killed_at", range(1, 14))
def test_a_run_that_is_killed_at_any_step_repeats_its_changes(tmp_path, monkeypatch, killed_at):
    options = planned(monkeypatch, pretrain=8, finetune=6)
    changing(monkeypatch, pretrain={2: 9, 3: 7, 5: 8}, finetune={1: 7, 4: 6})
    stopper = Stopper(killed_at)

    def killed():
        if stopper():
            raise Killed

    first = make_trainer(tmp_path / "a", timed(), should_stop=killed, **options)
    with pytest.raises(Killed):
        first.train()
    state = resume(tmp_path / "a", timed()).train()
    assert state.finished
    expected = weights(replay(tmp_path / "again", timed(), state))
    assert_equal(saved_weights(tmp_path / "a", timed()), expected)
    # What was in force when it was killed is in force afterwards
    for stage, schedules in first.state.schedules.items():
        assert state.schedules[stage][: len(schedules)] == schedules


def test_a_loss_on_held_out_data_that_rises_starts_the_decay(tmp_path, monkeypatch):
    scoring(monkeypatch, 5.0, 4.0, 4.5, *[4.0 - index / 10 for index in range(20)])
    listener = Listener()
    config = config_of({}, steps=80, validations=8)
    trainer = make_trainer(tmp_path / "a", config, names=("pretrain",), callbacks=listener)
    state = trainer.train()
    schedules = [(schedule.step, schedule.steps, schedule.reason) for schedule in state.schedules["pretrain"]]
    assert schedules == [(0, 80, "planned"), (30, 60, "overfitting")]
    rates = [report.learning_rate for report in listener.steps]
    assert len(rates) == 60
    assert rates[29] == max(rates) > rates[31]
    assert rates[-1] < 0.1 * rates[29]
    assert len(listener.warnings) == 1
    assert "falls from now on: 60 steps" in listener.warnings[0]
    scoring(monkeypatch, 5.0, 4.0, 4.5, *[4.0 - index / 10 for index in range(20)])
    assert_equal(weights(trainer.model), weights(replay(tmp_path / "again", config, state)))


@pytest.mark.parametrize(
    ("losses", "rises"),
    [
        ([5.0, 4.0, 4.01, 3.9, 3.0, 2.9, 2.8, 2.7], False),
        ([4.0, 4.01, 4.02, 4.0, 3.9, 3.8, 3.7, 3.6], True),
        ([5.0, 4.0, 3.0, 2.9, 3.5, 3.6, 3.7, 3.8], False),
    ],
    ids=["a little once", "a little twice", "in the decay"],
)
def test_a_little_once_is_no_rise(tmp_path, monkeypatch, losses, rises):
    scoring(monkeypatch, *losses)
    # The decay begins after half of the steps
    trainer = make_trainer(tmp_path, config_of({}, steps=80, validations=8), names=("pretrain",))
    assert (len(trainer.train().schedules["pretrain"]) > 1) == rises


@pytest.mark.parametrize(("epoch_steps", "rises"), [(20.0, True), (31.0, False)])
def test_what_rises_before_all_data_was_seen_is_no_overfitting(tmp_path, monkeypatch, epoch_steps, rises):
    scoring(monkeypatch, 4.0, 4.5, 4.6, 3.9, 3.8, 3.7, 3.6, 3.5)
    (stage,) = stages_of("pretrain")
    stages = [replace(stage, epoch_steps=epoch_steps)]
    trainer = make_trainer(tmp_path, config_of({}, steps=80, validations=8), stages=stages)
    assert (len(trainer.train().schedules["pretrain"]) > 1) == rises


def test_without_a_decay_none_is_started(tmp_path, monkeypatch):
    scoring(monkeypatch, 5.0, 4.0, 4.5, 4.6)
    config = config_of({}, steps=8, validations=4, decay=0.0, warmup=0.0)
    assert make_trainer(tmp_path, config, names=("pretrain",)).train().plan == {"pretrain": 8}


def test_the_time_left_is_kept_while_no_process_runs(tmp_path, monkeypatch):
    options = planned(monkeypatch, seconds=1000.0, pretrain=8)
    trainer = make_trainer(tmp_path, timed(), should_stop=Stopper(2), **options)
    assert not trainer.train().finished
    left = load_state(RunFolder(tmp_path).checkpoint("last")).seconds_left
    assert 900 < left["pretrain"] < 1000
    # So much that a resumed run takes more steps
    seen = Stopper(40)
    state = resume(tmp_path, timed(), names=("pretrain",), should_stop=seen).train()
    assert state.plan["pretrain"] > 40


def test_threads_follow_the_load_where_they_may(tmp_path, monkeypatch):
    wanted = iter([2, 2, 1, *[1] * 20])
    worked, threads = [], [2]
    monkeypatch.setattr(ThreadChooser, "first", lambda chooser: worked.append(chooser._work()) or 2)
    monkeypatch.setattr(ThreadChooser, "wanted", lambda *_: next(wanted))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: threads.append(number))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    config = config_of({"dropout": 0.1}, threads=2)
    trainer = make_trainer(tmp_path / "a", config, follow_load=True)
    state = trainer.train()
    found = {stage: [(s.step, s.threads, s.reason) for s in each] for stage, each in state.schedules.items()}
    assert found == {"pretrain": [(0, 2, "planned"), (2, 1, "threads")], "finetune": [(0, 1, "planned")]}
    assert state.plan == {"pretrain": 4, "finetune": 4}
    assert threads[-1] == 1
    # Timing a step leaves no trace, and the changes are repeated
    assert len(worked) == 1
    del threads[1:]
    assert_equal(weights(trainer.model), weights(replay(tmp_path / "again", config, state)))
    assert threads[-1] == 1


def test_threads_that_were_set_by_hand_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(ThreadChooser, "first", lambda _: pytest.fail("asked"))
    state = make_trainer(tmp_path, config_of({}, threads=1), names=("pretrain",)).train()
    assert not state.follows_load
    assert [schedule.threads for schedule in state.schedules["pretrain"]] == [0]
