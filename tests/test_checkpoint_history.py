"""Training that diverges goes back and on; earlier checkpoints are kept for that, and for a last one that is broken."""

import json
import math

import pytest
import torch
from counting import (
    Spoiling,
    Stopper,
    Warnings,
    assert_equal,
    config_of,
    counting_rows,
    finished_state,
    make_model,
    make_trainer,
    metrics,
    saved_weights,
    stages_of,
)

from tinylm.config import ModelConfig
from tinylm.errors import RunError
from tinylm.run_folder import RunFolder, TrainState, load_state
from tinylm.training.callbacks import StopWhen
from tinylm.training.checkpoint import load_parameters
from tinylm.training.checkpoint_history import kept_checkpoints, make_last_readable
from tinylm.training.divergence import DivergedError, watch_loss
from tinylm.training.run_lock import locked, remove_abandoned


class SpoilingOnce(Spoiling):
    """Spoils the first time only, as a learning rate does that is lower the second time."""

    def batch(self, index, size):
        if index == self.at:
            self.spoil()
            self.at = -1
        return self.rows.batch(index, size)


def spoiled(path, at, spoil=None, words=None, **train):
    config = config_of(steps=12, validations=4, **train)
    model = make_model(config)
    stages = stages_of("pretrain", batches=SpoilingOnce(spoil or (lambda: model.norm.weight.data.fill_(math.nan)), at))
    return make_trainer(path, config, stages=stages, model=model, callbacks=Warnings([] if words is None else words))


def events(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if "event" in line]


@pytest.mark.parametrize(("at", "back_to"), [(0, 0), (2, 0), (3, 3), (8, 6), (11, 9)])
def test_a_loss_that_is_no_number_goes_back_to_the_last_validation_at_half_the_rate(tmp_path, at, back_to):
    words = []
    trainer = spoiled(tmp_path, at, words=words)
    state = trainer.train()
    assert state.finished
    assert (state.rollbacks, state.rolled_back_to, state.rate_factor) == (1, back_to, 0.5)
    assert words == [
        f"the loss is no longer finite at pretrain step {at + 1}: back to step {back_to}, from there at 0.5 of the "
        "learning rate"
    ]
    (event,) = events(tmp_path)
    assert (event["event"], event["step"], event["details"]["from_step"]) == ("rolled_back", back_to, at + 1)
    steps = [line for line in metrics(tmp_path) if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))  # none twice, none missing
    assert all(math.isfinite(line["loss"]) for line in steps)
    assert all(torch.isfinite(tensor).all() for tensor in saved_weights(tmp_path, trainer.config).values())


def test_the_learning_rate_is_halved_from_there_on(tmp_path):
    spoiled(tmp_path / "spoiled", 7).train()
    spoiled(tmp_path / "sound", -1).train()
    rates = [
        [line["learning_rate"] for line in metrics(tmp_path / name) if "loss" in line] for name in ("spoiled", "sound")
    ]
    assert rates[0] == rates[1][:6] + [rate / 2 for rate in rates[1][6:]]


def test_a_rollback_and_a_stop_together_end_as_a_rollback_alone(tmp_path):
    spoiled(tmp_path / "whole", 7).train()
    trainer = spoiled(tmp_path / "stopped", 7)
    trainer.callbacks = StopWhen(Stopper(8))  # after the rollback: steps 1 to 7, and 7 again
    state = trainer.train()
    assert (state.step, state.rollbacks) == (7, 1)
    run = RunFolder(tmp_path / "stopped")
    model = make_model(trainer.config, seed=9)
    load_parameters(run.checkpoint("last"), model)
    stages = stages_of("pretrain", batches=counting_rows())
    again = make_trainer(run.path, trainer.config, stages=stages, model=model, state=load_state(run.checkpoint("last")))
    again.train()
    assert finished_state(tmp_path / "stopped") == finished_state(tmp_path / "whole")
    for name in ("last", "best"):
        assert_equal(*(saved_weights(tmp_path / folder, trainer.config, name) for folder in ("stopped", "whole")))


def test_where_it_goes_wrong_again_an_earlier_checkpoint_is_taken(tmp_path):
    config = config_of(steps=12, validations=4, max_rollbacks=2)
    model = make_model(config)
    stages = stages_of("pretrain", batches=Spoiling(lambda: model.norm.weight.data.fill_(math.nan), 7))
    words = []
    with pytest.raises(RunError, match="at pretrain step 8 after 2 rollbacks; the last good checkpoint is kept"):
        make_trainer(tmp_path, config, stages=stages, model=model, callbacks=Warnings(words)).train()
    assert [word.partition("back to ")[2].partition(",")[0] for word in words] == ["step 6", "step 3"]


def test_without_rollbacks_it_stops_at_once(tmp_path):
    with pytest.raises(RunError, match="no longer finite at pretrain step 8; the last good"):
        spoiled(tmp_path, 7, max_rollbacks=0).train()


def test_an_explosion_of_the_loss_is_caught(tmp_path):
    model = None

    def explode():
        for parameter in trainer.model.parameters():
            parameter.data.mul_(20)

    trainer = spoiled(tmp_path, 5, explode)
    words = []
    trainer.callbacks = Warnings(words)
    state = trainer.train()
    assert model is None
    assert state.rollbacks >= 1
    assert "the loss has risen from" in words[0]
    assert state.best_loss < 10


def state_with(**values):
    return TrainState(stage="pretrain", step=0, plan={}, model=ModelConfig(), **values)


def test_noise_is_no_explosion_and_a_rise_is():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3000, generator=generator)
    state = state_with()
    for step, value in enumerate(noise.tolist()):
        watch_loss(state, 8 * math.exp(-step / 300) + 1.5 + 0.4 * value, step)  # of small batches
    rising = (watch_loss(state, 1.5 + 0.1 * step, step) for step in range(100))
    with pytest.raises(DivergedError, match="has risen from 1"):
        list(rising)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_so_many_earlier_checkpoints_are_kept(tmp_path, count):
    config = config_of(steps=16, validations=4, keep_checkpoints=count)
    make_trainer(tmp_path, config).train()
    names = [path.name for path in kept_checkpoints(RunFolder(tmp_path))]
    every = [f"{stage}-{step:06}" for stage in ("pretrain", "finetune") for step in (0, 2, 4, 6, 8)]
    assert names == every[len(every) - count :]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"last", "best", *names}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("gone", [True, False])
def test_where_the_last_checkpoint_is_broken_an_earlier_one_takes_its_place(tmp_path, name, gone):
    config = config_of(steps=12, validations=4)
    make_trainer(tmp_path, config, names=("pretrain",), should_stop=Stopper(8)).train()
    run = RunFolder(tmp_path)
    file = run.checkpoint("last") / name
    whole = file.read_bytes()
    file.unlink()
    if not gone:
        file.write_bytes(whole[: len(whole) // 2])
    words = []
    make_last_readable(run, words.append)
    assert len(words) == 1
    assert "continuing from pretrain-000006" in words[0]
    assert load_state(run.checkpoint("last")).step == 6
    make_last_readable(run, words.append)
    assert len(words) == 1


def test_where_all_are_broken_it_says_so(tmp_path):
    make_trainer(tmp_path, config_of(), should_stop=Stopper(2)).train()
    for file in tmp_path.glob("checkpoints/*/model.safetensors"):
        file.unlink()
    with pytest.raises(RunError, match=r"last/model\.safetensors: cannot be read"):
        make_last_readable(RunFolder(tmp_path), lambda _: None)


def test_a_run_is_locked_once(tmp_path):
    run = RunFolder(tmp_path)
    with locked(run), pytest.raises(RunError, match="another process is training this run"), locked(run):
        pass
    with locked(run):
        pass


def test_what_was_left_before_the_first_checkpoint_is_removed_and_nothing_else(tmp_path, text_run):
    config = (text_run / "config.toml").read_bytes()

    def run_of(name, *others):
        path = tmp_path / name
        (path / "checkpoints").mkdir(parents=True)
        (path / "config.toml").write_bytes(config)
        for other in others:
            (path / other).mkdir()
        return RunFolder(path)

    left = run_of("left", "val", "checkpoints/.last.abcdefgh.tmp")
    remove_abandoned(left)
    assert not left.path.exists()
    for others in (["checkpoints/last"], ["checkpoints/.last.replaced"], ["notes"]):
        run = run_of(f"run-{others[0].replace('/', '-')}", *others)
        remove_abandoned(run)
        assert run.config.is_file()
    remove_abandoned(RunFolder(tmp_path / "missing"))
    held = run_of("held")
    with locked(held), pytest.raises(RunError, match="another process"):
        remove_abandoned(held)
