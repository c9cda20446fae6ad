"""The dial: what is chosen for minutes, a machine and an amount of text."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from tinylm.config import Config, ModelConfig, TrainConfig
from tinylm.manifest import read_manifest
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.training import speed as speed_module
from tinylm.training.autosize import Law, choose, dropout, weight_decay
from tinylm.training.speed import Speed, block_weights, measure_speed

FAST = {"device": "cpu", "precision": "fp32", "threads": 1}


def machine(gflops: float) -> Speed:
    seconds = 1e-9 / gflops
    return Speed(blocks=((1e6, seconds),), output=(0.0, 6 * seconds), update=((1e6, 100 * seconds),))


def chosen(minutes: float, *, gflops: float = 150.0, megabytes: float = 30.0, given=(), model=None, **others):
    config = Config(model=model or ModelConfig(), train=TrainConfig(minutes=minutes, **FAST))
    return choose(config, given, {"pretrain": megabytes * 1e6}, machine(gflops), **others)


def weights(config: Config) -> int:
    model = config.model
    return model.num_layers * 12 * model.d_model**2 + model.vocab_size * model.d_model


def test_more_minutes_never_make_a_smaller_model():
    sizes = [weights(chosen(minutes).config) for minutes in (0.5, 1, 3, 8, 20, 60, 240, 1440)]
    assert all(larger >= smaller * 0.9 for smaller, larger in pairwise(sizes))
    assert sizes[0] < sizes[3] < sizes[-1]


def test_a_slower_machine_is_like_fewer_minutes():
    assert weights(chosen(8, gflops=15).config) < weights(chosen(8).config)
    assert weights(chosen(80, gflops=15).config) == pytest.approx(weights(chosen(8).config), rel=0.5)


def test_little_text_does_not_ask_for_a_larger_model():
    assert weights(chosen(60, megabytes=0.2).config) < weights(chosen(60, megabytes=200).config)


def test_little_text_gets_a_small_vocabulary():
    assert chosen(8, megabytes=0.3).config.model.vocab_size < chosen(8).config.model.vocab_size


def test_repeated_text_is_worth_less_than_new_text():
    law = Law()
    assert law(1e6, 4096, 1e7, 1e7) < law(1e6, 4096, 1e7, 1e6) < law(1e6, 4096, 1e6, 1e6)
    assert law(1e6, 4096, 1e9, 1e6) == pytest.approx(law(1e6, 4096, 1e10, 1e6))


def test_the_choice_is_a_valid_configuration_for_each_architecture():
    for minutes in (0.2, 1, 8, 100, 10_000):
        for arch in ("classic", "modern", "llama"):
            model = chosen(minutes, model=ModelConfig(arch=arch)).config.model
            assert model.arch == arch
            # Three matrices have as many weights as two
            matrices = 3 if arch == "llama" else 2
            assert model.dim_feedforward * matrices == pytest.approx(8 * model.d_model, rel=0.1)
            assert block_weights(model) == pytest.approx(12 * model.d_model**2 * model.num_layers, rel=0.1)


def test_what_was_given_stays():
    given = {"model.d_model": 32, "model.nhead": 2}
    choice = chosen(5, given=given, model=ModelConfig(d_model=32, nhead=2, num_layers=3, dim_feedforward=100))
    model = choice.config.model
    assert (model.d_model, model.nhead, model.num_layers, model.dim_feedforward) == (32, 2, 3, 100)
    assert "model.vocab_size" in choice.chosen
    everything = {"model.d_model", "model.vocab_size", "model.dropout", "tokenizer.max_sample_megabytes"}
    everything |= {"train.batch_size", "train.weight_decay", "train.max_epochs"}
    fixed = chosen(5, given=everything)
    assert fixed.chosen == []
    assert fixed.config.model == ModelConfig()


def test_key_value_heads_that_do_not_fit_the_chosen_heads_are_left_out():
    model = chosen(1, model=ModelConfig(arch="modern", nhead=4, num_kv_heads=4)).config.model
    assert model.nhead % model.kv_heads == 0


def test_more_tokens_make_larger_batches():
    sizes = [chosen(minutes).config.train.batch_size for minutes in (1, 10, 100, 1000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_it_says_what_and_why():
    text = "\n".join(chosen(3).lines)
    for part in ("3 minutes", "GFLOP/s", "30.0 MB", "layers", "vocabulary", "--set model.d_model="):
        assert part in text


def test_what_is_spent_and_what_is_still_to_be_done_counts():
    def steps(choice) -> int:
        (line,) = (line for line in choice.lines if "steps" in line)
        return int(line.partition("about ")[2].partition(" steps")[0].replace(",", ""))

    given = {"model.d_model", "model.vocab_size", "train.batch_size"}
    model = ModelConfig(d_model=64, nhead=1, num_layers=2, dim_feedforward=256, vocab_size=4096)
    at_once, late = (steps(chosen(2, given=given, model=model, spent=spent)) for spent in (0.0, 40.0))
    assert late < 0.7 * at_once
    assert steps(chosen(2, given=given, model=model, megabytes=300)) < 0.7 * at_once
    # However little is left, something is chosen
    assert steps(chosen(2, given=given, model=model, spent=1000.0)) > 0
    pairs = {"finetune": 30e6}
    config = Config(model=model, train=TrainConfig(minutes=2, **FAST))
    assert steps(choose(config, given, pairs, machine(150.0))) < at_once


def test_slow_updates_leave_fewer_steps_and_never_ask_for_larger_batches():
    quick = Speed(blocks=((1e6, 1e-11),), output=(0.0, 6e-11), update=((1e6, 0.0),))
    slow = Speed(blocks=quick.blocks, output=quick.output, update=((1e6, 1e-7),))
    config = Config(train=TrainConfig(minutes=20, **FAST))
    given = {"model.d_model", "model.vocab_size"}
    tokens = [choose(config, given, {"pretrain": 3e7}, speed).config.train.batch_size for speed in (quick, slow)]
    assert tokens[0] >= tokens[1]


def test_text_that_is_seen_often_is_regularized_more():
    trained = [chosen(20, megabytes=megabytes).config.train for megabytes in (1000, 30, 4, 1)]
    decays = [train.weight_decay / train.batch_size for train in trained]  # for as many tokens
    assert decays == sorted(decays)
    assert 8 * decays[0] < 0.1 < 0.8 < 8 * decays[-1]
    assert weight_decay(0.3, 2048) == weight_decay(1.0, 2048) == 0.05
    # The same decay for each token
    assert weight_decay(1.0, 4096) == 0.1
    assert weight_decay(20.0, 1024) == weight_decay(16.0, 2048) / 2
    assert dropout("modern", 1.0) == dropout("classic", 1.0) == 0.0 < dropout("modern", 20.0)
    given = chosen(20, megabytes=1, given={"train.weight_decay", "model.dropout"}).config
    assert (given.train.weight_decay, given.model.dropout) == (0.05, 0.0)


def test_little_text_is_not_seen_without_end():
    choice = chosen(60, megabytes=0.2)
    assert 0 < choice.config.train.max_epochs < 50
    assert any("end before the time is over" in line for line in choice.lines)
    assert not any("end before the time is over" in line for line in chosen(5, megabytes=30).lines)
    # Who wants it can have it
    given = TrainConfig(minutes=60, max_epochs=0, **FAST)
    longer = choose(Config(train=given), {"train.max_epochs"}, {"pretrain": 0.2e6}, machine(150.0))
    assert longer.config.train.max_epochs == 0
    assert not any("end before the time is over" in line for line in longer.lines)


def test_each_stage_is_regularized_for_its_own_text_and_gets_the_time_that_it_needs():
    config = Config(train=TrainConfig(minutes=20, **FAST))

    def choice(pretrain, finetune, given=()):
        return choose(config, given, {"pretrain": pretrain, "finetune": finetune}, machine(150.0)).config.train

    few = choice(3e7, 1e5)
    assert few.pretrain_share > 0.8
    assert few.weight_decay < few.finetune_weight_decay / 5
    many = choice(3e7, 3e7)
    assert many.pretrain_share == 0.5
    assert many.weight_decay == many.finetune_weight_decay
    assert choice(1e5, 3e7).pretrain_share < 0.2
    assert choice(3e7, 1e5, {"train.pretrain_share"}).pretrain_share == 0.5


def test_the_devices_time_decides_between_models_that_are_about_as_good():
    def choice(tokens_per_second):
        train = TrainConfig(minutes=8, device_tokens_per_second=tokens_per_second, **FAST)
        return choose(Config(train=train), (), {"pretrain": 3e7}, machine(150.0))

    free, bound = choice(0.0), choice(50.0)
    assert weights(bound.config) < weights(free.config)
    (line,) = (line for line in bound.lines if "on your device" in line)
    demo = Config(model=read_manifest(DEMO_BUNDLE).model)
    expected = 50 * weights(demo) / weights(bound.config)
    assert f"about {expected:.0f} tokens/s" in line
    (line,) = (line for line in free.lines if "in int8" in line)
    share = free.config.model.vocab_size * free.config.model.d_model / weights(free.config)
    assert f"{share:.0%} of it for the vocabulary" in line


def test_the_modern_architecture_is_pointed_to_where_none_was_chosen():
    def points_to_it(**options):
        return any("--set model.arch=modern" in line for line in chosen(5, **options).lines)

    assert points_to_it()
    assert not points_to_it(given={"model.arch"})
    assert not points_to_it(model=ModelConfig(arch="modern"))


def test_a_busy_machine_is_told():
    config = Config(train=TrainConfig(minutes=5, **FAST))
    busy = dataclasses.replace(machine(100.0), busy=True)
    assert any("Other programs" in line for line in choose(config, (), {"pretrain": 1e6}, busy).lines)
    assert not any("Other programs" in line for line in choose(config, (), {"pretrain": 1e6}, machine(100.0)).lines)


@pytest.mark.parametrize(("share", "counts"), [(1.0, [2]), (0.6, [2, 1]), (0.1, [1])])
def test_a_busy_machine_is_measured_with_one_thread_too(monkeypatch, share, counts):
    monkeypatch.setattr(speed_module, "processor_share", lambda: share)
    measured = []

    def measure(config, seconds):
        measured.append((torch.get_num_threads(), seconds))
        return machine(10.0 if torch.get_num_threads() == 2 else 30.0)

    monkeypatch.setattr(speed_module, "_measure", measure)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        speed = measure_speed(Config(train=TrainConfig(minutes=5, device="cpu", precision="fp32", threads=2)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert speed.busy == (share < 0.8)
    assert [threads for threads, _ in measured] == counts
    assert speed.blocks == machine(30.0 if 1 in counts else 10.0).blocks


@pytest.mark.parametrize("arch", ["classic", "modern", "llama"])
def test_the_speed_of_this_machine_is_measured(arch):
    config = Config(model=ModelConfig(arch=arch), train=TrainConfig(minutes=1, **FAST))
    speed = measure_speed(config)
    sizes = [
        ModelConfig(arch=arch, d_model=width, nhead=width // 32, num_layers=layers, dim_feedforward=4 * width)
        for width, layers in ((32, 1), (128, 4), (512, 8))
    ]
    for measure in (speed.token_seconds, speed.update_seconds):
        times = [measure(size) for size in sizes]
        assert 0 < times[0] < times[1] < times[2] < 60
