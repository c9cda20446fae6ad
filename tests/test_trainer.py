"""The training loop: it learns, it stops and goes on bit for bit, and it never keeps what is broken."""

import math
import time

import pytest
import torch
from counting import (
    BOTH,
    CONTEXT,
    Killed,
    Listener,
    Spoiling,
    Stopper,
    assert_equal,
    config_of,
    finished_state,
    make_model,
    make_trainer,
    metrics,
    replay,
    resume,
    saved_weights,
    stages_of,
    weights,
)

from tinylm.errors import RunError
from tinylm.evaluation import Score
from tinylm.run_folder import RunFolder, load_state
from tinylm.training import trainer as trainer_module
from tinylm.training.callbacks import TrainingCallback
from tinylm.training.checkpoint_history import kept_checkpoints
from tinylm.training.trainer import Trainer


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("arch", ["classic", "modern", "llama"])
def test_the_loss_falls(tmp_path, optimizer, arch):
    config = config_of({"arch": arch}, steps=40, optimizer=optimizer, validations=1)
    listener = Listener()
    make_trainer(tmp_path, config, names=("pretrain",), callbacks=listener).train()
    losses = [report.loss for report in listener.steps]
    assert losses[0] > 4
    assert losses[-1] < 0.5 * losses[0]
    assert listener.validations[-1][2].loss < 0.6 * losses[0]


STOPS = {
    "first step": (1,),
    "a validation": (2,),
    "between validations": (3,),
    "end of a stage": (4,),
    "first step of a stage": (5,),
    "last step but one": (7,),
    "again and again": (1, 2, 4, 6, 7),
}


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, optimizer):
    config = config_of({"dropout": 0.2, "arch": "modern"}, optimizer=optimizer, accumulate=2)
    straight = make_trainer(tmp_path / "straight", config)
    assert straight.train().finished
    expected = weights(straight.model)
    assert_equal(saved_weights(tmp_path / "straight", config), expected)
    for name, stops in STOPS.items():
        path = tmp_path / name
        stopper = Stopper(*stops)
        trainer = make_trainer(path, config, should_stop=stopper)
        for stop in stops:
            state = trainer.train()
            assert not state.finished, name
            assert stopper.taken == stop, name
            trainer = resume(path, config, should_stop=stopper)
        assert trainer.train().finished, name
        assert_equal(weights(trainer.model), expected)
        assert_equal(saved_weights(path, config), expected)
        assert_equal(saved_weights(path, config, "best"), saved_weights(tmp_path / "straight", config, "best"))
        assert finished_state(path) == finished_state(tmp_path / "straight"), name
        assert metrics(path) == metrics(tmp_path / "straight"), name


def test_without_validation_a_resumed_run_ends_in_the_same_bits_too(tmp_path):
    config = config_of({"dropout": 0.1})
    stages = stages_of(*BOTH, validation=False)
    make_trainer(tmp_path / "straight", config, stages=stages).train()
    stopper = Stopper(3, 4)
    make_trainer(tmp_path / "stopped", config, stages=stages, should_stop=stopper).train()
    resume(tmp_path / "stopped", config, stages=stages, should_stop=stopper).train()
    trainer = resume(tmp_path / "stopped", config, stages=stages)
    trainer.train()
    for name in ("last", "best"):
        assert_equal(
            saved_weights(tmp_path / "stopped", config, name), saved_weights(tmp_path / "straight", config, name)
        )
    assert finished_state(tmp_path / "stopped") == finished_state(tmp_path / "straight")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run with dropout that nothing stopped."""
    path = tmp_path_factory.mktemp("straight")
    make_trainer(path, config_of({"dropout": 0.2})).train()
    return path


@pytest.mark.parametrize(
    ("step", "every_step"), [(1, False), (2, False), (4, False), (5, False), (8, False), (3, True), (4, True)]
)
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch, straight, step, every_step):
    config = config_of({"dropout": 0.2})
    if every_step:
        monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)
    stopper = Stopper(step)

    def killed():
        if stopper():
            raise Killed
        return False

    path = tmp_path / "killed"
    with pytest.raises(Killed):
        make_trainer(path, config, should_stop=killed).train()
    saved = load_state(RunFolder(path).checkpoint("last"))
    # The kill comes after the step and before its checkpoint
    expected = step - 1 if every_step else (step - 1) // 2 * 2
    assert saved.step + (4 if saved.stage == "finetune" else 0) == expected
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"stage": "pretrain", "st')
    trainer = resume(path, config)
    trainer.train()
    assert_equal(weights(trainer.model), saved_weights(straight, config))
    assert metrics(path) == metrics(straight)


def test_the_wish_to_stop_at_the_very_end_is_no_stop(tmp_path):
    assert make_trainer(tmp_path, config_of(), should_stop=Stopper(8)).train().finished


def test_a_run_is_the_same_twice_and_another_with_another_seed(tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = config_of({"dropout": 0.3}, seed=seed)
        trainer = make_trainer(tmp_path / name, config)
        trainer.train()
        results.append(weights(trainer.model))
    assert_equal(results[0], results[1])
    assert not torch.equal(results[0]["embedding.weight"], results[2]["embedding.weight"])


def test_metrics_say_what_happened(tmp_path):
    config = config_of(warmup=0.5, decay=0.5, steps=4)
    make_trainer(tmp_path, config, names=("pretrain",)).train()
    lines = metrics(tmp_path)
    assert [(line["step"], "validation_loss" in line) for line in lines] == [
        (1, False),
        (2, False),
        (2, True),
        (3, False),
        (4, False),
        (4, True),
    ]
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    assert rates == pytest.approx([0.02 * factor for factor in (0.25, 0.75, 0.75, 0.25)])
    assert all(line["stage"] == "pretrain" for line in lines)
    assert {key for line in lines for key in line} == {
        "stage",
        "step",
        "loss",
        "learning_rate",
        "validation_loss",
        "bits_per_byte",
        "best",
    }


def test_a_reporter_is_told(tmp_path):
    listener = Listener()
    config = config_of(steps=10, pretrain_share=0.6, validations=2)
    state = make_trainer(tmp_path, config, callbacks=listener).train()
    assert listener.started == [("pretrain", 0, 6), ("finetune", 0, 4)]
    assert [(r.stage, r.step, r.steps) for r in listener.steps] == [
        *(("pretrain", step, 6) for step in range(1, 7)),
        *(("finetune", step, 4) for step in range(1, 5)),
    ]
    assert [(stage, step) for stage, step, _, _ in listener.validations] == [
        ("pretrain", 3),
        ("pretrain", 6),
        ("finetune", 2),
        ("finetune", 4),
    ]
    assert all(report.tokens_per_second > 0 for report in listener.steps)
    assert state.tokens == 10 * 4 * CONTEXT
    listener = Listener()
    make_trainer(tmp_path / "b", config, names=("finetune",), callbacks=listener).train()
    assert listener.started == [("finetune", 0, 10)]


@pytest.mark.parametrize(
    ("steps", "share", "plan"),
    [
        (8, 0.5, (4, 4)),
        (3, 0.5, (2, 1)),
        (5, 0.5, (2, 3)),
        (10, 0.3, (3, 7)),
        (1, 0.5, (1, 1)),
        (2, 0.99, (1, 1)),
        (2, 0.01, (1, 1)),
    ],
)
def test_both_stages_together_take_the_steps(tmp_path, steps, share, plan):
    config = config_of(steps=steps, pretrain_share=share)
    state = make_trainer(tmp_path, config, should_stop=lambda: True).train()
    assert state.plan == dict(zip(BOTH, plan, strict=True))
    assert load_state(RunFolder(tmp_path).checkpoint("last")).plan == state.plan
    alone = make_trainer(tmp_path / "alone", config, names=("finetune",), should_stop=lambda: True).train()
    assert alone.plan == {"finetune": steps}


@pytest.mark.parametrize(("steps", "validations", "expected"), [(7, 3, [3, 5, 7]), (3, 8, [1, 2, 3]), (10, 1, [10])])
def test_validations_are_spread_and_the_last_is_at_the_end(tmp_path, steps, validations, expected):
    listener = Listener()
    config = config_of(steps=steps, validations=validations)
    make_trainer(tmp_path, config, names=("pretrain",), callbacks=listener).train()
    assert [step for _, step, _, _ in listener.validations] == expected


def test_the_best_checkpoint_is_the_best(tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.5, 9.0, 8.0, 7.0, 7.5])
    snapshots = {}

    def validate(self, stage):
        snapshots[stage.name, self.state.step] = weights(self.model)
        return Score(next(losses), 1, 1)

    monkeypatch.setattr(Trainer, "validate", validate)
    config = config_of(validations=4)
    stopper = Stopper(4)
    make_trainer(tmp_path, config, should_stop=stopper).train()
    best = load_state(RunFolder(tmp_path).checkpoint("best"))
    assert (best.stage, best.step, best.best_loss) == ("pretrain", 2, 1.0)
    assert best.best_bits_per_byte == pytest.approx(1 / math.log(2))
    assert_equal(saved_weights(tmp_path, config, "best"), snapshots["pretrain", 2])
    resume(tmp_path, config).train()
    # Another stage has another measure, so that its first result counts anew
    best = load_state(RunFolder(tmp_path).checkpoint("best"))
    assert (best.stage, best.step, best.best_loss) == ("finetune", 3, 7.0)
    assert_equal(saved_weights(tmp_path, config, "best"), snapshots["finetune", 3])
    flags = [line["best"] for line in metrics(tmp_path) if "best" in line]
    assert flags == [True, True, False, False, True, True, True, False]


def test_without_validation_the_end_is_the_best(tmp_path):
    config = config_of()
    trainer = make_trainer(tmp_path, config, stages=stages_of("pretrain", validation=False))
    trainer.train()
    assert_equal(saved_weights(tmp_path, config, "best"), weights(trainer.model))
    assert load_state(RunFolder(tmp_path).checkpoint("best")).best_loss is None
    assert all("validation_loss" not in line for line in metrics(tmp_path))


def assert_last_good_checkpoint_is_kept(path, config, step):
    assert load_state(RunFolder(path).checkpoint("last")).step == step
    for name in ("last", "best"):
        if RunFolder(path).checkpoint(name).is_dir():
            assert all(torch.isfinite(tensor).all() for tensor in saved_weights(path, config, name).values())
    names = {folder.name for folder in (path / "checkpoints").iterdir()}
    assert names <= {"best", "last", *(kept.name for kept in kept_checkpoints(RunFolder(path)))}


@pytest.mark.parametrize("at", [0, 2, 3])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("where", ["weights", "gradient"])
def test_a_loss_without_a_number_is_not_trained_on(tmp_path, at, clip_norm, where):
    config = config_of(steps=4, validations=2, clip_norm=clip_norm)
    model = make_model(config)

    def spoil():
        if where == "weights":
            model.embedding.weight.data.fill_(math.nan)
        else:
            model.norm.weight.register_hook(lambda gradient: gradient * math.inf)

    trainer = make_trainer(tmp_path, config, stages=stages_of("pretrain", batches=Spoiling(spoil, at)), model=model)
    # A gradient stays spoilt, from wherever it goes on
    step = at + 1 if where == "weights" else 1
    problem = f"no longer finite at pretrain step {step} after 3 rollbacks;.*lower train.learning_rate"
    with pytest.raises(RunError, match=problem):
        trainer.train()
    assert_last_good_checkpoint_is_kept(tmp_path, config, at // 2 * 2 if where == "weights" else 0)


def test_a_validation_without_a_number_is_not_kept(tmp_path):
    config = config_of(steps=4, validations=2)
    model = make_model(config)

    class Spoiler(TrainingCallback):
        def on_step(self, report):
            if report.step == 4:
                model.norm.weight.data.fill_(math.nan)

    trainer = make_trainer(tmp_path, config, stages=stages_of("finetune"), model=model, callbacks=Spoiler())
    with pytest.raises(RunError, match=r"finite at finetune step 4 after 3 .*lower train\.finetune_learning_rate"):
        trainer.train()
    assert_last_good_checkpoint_is_kept(tmp_path, config, 2)
    assert load_state(RunFolder(tmp_path).checkpoint("best")).step == 2


@pytest.mark.parametrize("seconds", [-5.0, 0.3])
def test_minutes_become_a_number_of_steps_that_is_stored(tmp_path, seconds):
    config = config_of({"dropout": 0.1}, steps=0, minutes=1.0)
    trainer = make_trainer(tmp_path / "timed", config, deadline=time.monotonic() + seconds)
    state = trainer.train()
    assert state.finished
    assert list(state.plan) == list(BOTH)
    assert min(state.plan.values()) >= 1
    assert load_state(RunFolder(tmp_path / "timed").checkpoint("last")).plan == state.plan
    assert not list((tmp_path / "timed" / "checkpoints").glob(".*"))
    # Measuring leaves no trace: the same schedules without it give the same bits
    assert_equal(weights(trainer.model), weights(replay(tmp_path / "planned", config, state)))


def test_the_plan_survives_a_kill_before_the_first_step(tmp_path):
    config = config_of(steps=0, minutes=1.0)

    class Dies(TrainingCallback):
        def on_stage_start(self, *_):
            raise Killed

    with pytest.raises(Killed):
        make_trainer(tmp_path, config, deadline=time.monotonic(), callbacks=Dies()).train()
    plan = load_state(RunFolder(tmp_path).checkpoint("last")).plan
    assert resume(tmp_path, config).train().plan == plan
