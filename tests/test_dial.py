"""The dial: what is chosen for minutes, a machine and an amount of text."""

from itertools import pairwise

import pytest

from tinylm.config import Config, ModelConfig, TrainConfig
from tinylm.dial import Law, Speed, choose

FAST = {"device": "cpu", "precision": "fp32", "threads": 1}


def machine(gflops: float):
    return lambda weights: gflops * 1e9  # noqa: ARG005


def chosen(minutes: float, *, gflops: float = 150.0, megabytes: float = 30.0, given=(), model=None):
    config = Config(model=model or ModelConfig(), train=TrainConfig(minutes=minutes, **FAST))
    return choose(config, given, megabytes * 1e6, machine(gflops))


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


def test_the_choice_is_a_valid_configuration_for_both_architectures():
    for minutes in (0.2, 1, 8, 100, 10_000):
        for arch in ("classic", "modern"):
            model = chosen(minutes, model=ModelConfig(arch=arch)).config.model
            assert model.arch == arch
            assert model.dim_feedforward == 4 * model.d_model


def test_what_was_given_stays():
    given = {"model.d_model": 32, "model.nhead": 2}
    choice = chosen(5, given=given, model=ModelConfig(d_model=32, nhead=2, num_layers=3, dim_feedforward=100))
    model = choice.config.model
    assert (model.d_model, model.nhead, model.num_layers, model.dim_feedforward) == (32, 2, 3, 100)
    assert "model.vocab_size" in choice.chosen
    everything = {"model.d_model", "model.vocab_size", "train.batch_size", "tokenizer.max_sample_megabytes"}
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
    for part in ("3 minutes", "150 GFLOP/s", "30.0 MB", "layers", "vocabulary", "--set model.d_model="):
        assert part in text


def test_the_speed_of_this_machine_is_measured():
    config = Config(train=TrainConfig(minutes=1, **FAST))
    speed = Speed(config)
    assert 0 < speed(1e5) < 1e15
    assert speed(1e9) > 0
