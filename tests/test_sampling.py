"""The options of sampling beyond temperature, top-k and top-p, and that cutting corners changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.errors import ConfigError, TinyLMError
from tinylm.runtime.sampling import REPETITION_WINDOW, SamplingOptions, TokenSampler, _group_maxima, _likeliest


def logits_of(*probabilities):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities, np.float32))


def drawn(logits, count=400, never=(), context=(), spared=(), **options):
    options = SamplingOptions(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1, **options})
    sampler = TokenSampler(options, never, spared)
    return [sampler.choose(logits.copy(), context) for _ in range(count)]


FIVE = logits_of(0.25, 0.12, 0.08, 0.4, 0.15)


@pytest.mark.parametrize(
    ("min_p", "kept"),
    [(0, {0, 1, 2, 3, 4}), (0.19, {0, 1, 2, 3, 4}), (0.21, {0, 1, 3, 4}), (0.5, {0, 3}), (0.7, {3}), (1, {3})],
)
def test_min_p_keeps_what_is_not_much_less_likely_than_the_likeliest(min_p, kept):
    assert set(drawn(FIVE, min_p=min_p)) == kept
    assert set(drawn(FIVE, min_p=min_p, top_k=4)) == kept - {2}


def test_min_p_and_top_p_both_hold():
    assert set(drawn(FIVE, min_p=0.35, top_p=0.6)) == {3, 0}
    assert set(drawn(FIVE, min_p=0.7, top_p=0.99)) == {3}


def test_a_repetition_penalty_makes_what_was_said_less_likely():
    logits = np.array([2.0, 1.9, -1.0, -1.1], np.float32)
    assert drawn(logits, 1, temperature=0) == [0]
    assert drawn(logits, 1, context=[0], temperature=0, repetition_penalty=1.2) == [1]
    # Below zero, less likely means further down
    assert drawn(logits, 1, context=[0, 1, 2], temperature=0, repetition_penalty=100) == [0]
    assert drawn(-np.abs(logits), 1, context=[2], temperature=0, repetition_penalty=2) == [3]
    assert drawn(logits, 1, context=[1], temperature=0, repetition_penalty=0.9) == [1]


def test_the_repetition_penalty_looks_back_no_further_than_its_window():
    logits = np.array([2.0, 1.9, 0, 0], np.float32)
    assert drawn(logits, 1, context=[0] + [2] * (REPETITION_WINDOW - 1), temperature=0, repetition_penalty=2) == [1]
    assert drawn(logits, 1, context=[0] + [2] * REPETITION_WINDOW, temperature=0, repetition_penalty=2) == [0]


def test_the_repetition_penalty_spares_the_end_of_a_reply():
    logits = np.array([2.0, 1.9, 0, 0], np.float32)
    assert drawn(logits, 1, context=[0], spared=[0], temperature=0, repetition_penalty=2) == [0]


def test_a_logit_bias_is_added():
    assert drawn(FIVE, 1, temperature=0, logit_bias={2: 5.0}) == [2]
    assert 3 not in drawn(FIVE, logit_bias={3: -100})
    assert set(drawn(FIVE, logit_bias={0: 100})) == {0}
    # It cannot bring back what must never be said
    assert 3 not in drawn(FIVE, never=[3], logit_bias={3: 100})


def test_a_logit_bias_of_a_token_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no token 5 in 5"):
        drawn(FIVE, 1, logit_bias={5: 1.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", float("nan")),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("inf")),
        ("stop", "text"),
        ("stop", ["a", ""]),
        ("choices", "yes"),
        ("choices", ["yes", ""]),
        ("logit_bias", {-1: 1.0}),
        ("logit_bias", {1: 101.0}),
        ("logit_bias", {1: float("nan")}),
    ],
)
def test_an_option_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=name.replace("_", "-")):
        SamplingOptions(**{name: value})


def test_other_options_go_on_with_the_same_random_numbers():
    flat = np.zeros(50, np.float32)
    one, other = (TokenSampler(SamplingOptions(temperature=1, top_k=0, seed=3), []) for _ in range(2))
    for sampler in (one, other):
        sampler.choose(flat.copy())
    other.options = SamplingOptions(temperature=1, top_k=0, seed=3, max_new_tokens=5)
    assert one.choose(flat.copy()) == other.choose(flat.copy())
    other.options = SamplingOptions(temperature=1, top_k=0, seed=4)
    fresh = TokenSampler(SamplingOptions(temperature=1, top_k=0, seed=4), [])
    assert [other.choose(flat.copy()) for _ in range(5)] == [fresh.choose(flat.copy()) for _ in range(5)]


def test_a_seed_of_minus_one_is_a_random_one():
    assert SamplingOptions(seed=-1) == SamplingOptions(seed=None)
    flat = np.zeros(300, np.float32)
    sequences = set()
    for _ in range(4):
        sampler = TokenSampler(SamplingOptions(temperature=1, top_k=0, top_p=1, seed=-1), [])
        sequences.add(tuple(sampler.choose(flat.copy()) for _ in range(8)))
    assert len(sequences) > 1


def test_a_top_k_of_minus_one_is_all():
    assert SamplingOptions(top_k=-1) == SamplingOptions(top_k=0)
    for top_k in (-2, -40):
        with pytest.raises(ConfigError, match="top-k"):
            SamplingOptions(top_k=top_k)


@pytest.mark.parametrize("size", [5, 600, 3000])
@pytest.mark.parametrize("options", [{}, {"top_k": 40}, {"min_p": 0.1}, {"temperature": 100.0}])
def test_a_top_p_of_zero_takes_the_most_likely_token(size, options):
    logits = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    sampler = TokenSampler(SamplingOptions(**{"temperature": 1.0, "top_k": 0, "top_p": 0.0, **options}), [])
    assert {sampler.choose(logits.copy()) for _ in range(20)} == {int(logits.argmax())}


@given(
    size=st.sampled_from([3, 255, 256, 511, 512, 513, 700, 1024, 4097]),
    count=st.integers(1, 4097),
    seed=st.integers(0, 99),
    levels=st.sampled_from([2, 50, 10**6]),
)
@settings(max_examples=200, deadline=None)
def test_the_likeliest_are_those_that_sorting_finds(size, count, seed, levels):
    # Few levels: many are equal
    values = np.random.default_rng(seed).integers(0, levels, size).astype(np.float32)
    count = min(count, size)
    ids, found = _likeliest(values, _group_maxima(values), count)
    assert len(set(ids.tolist())) == count
    assert (values[ids] == found).all()
    assert found.tolist() == sorted(values.tolist(), reverse=True)[:count]
    assert _group_maxima(values).max() == values.max()


def distribution(logits, options):
    """The probabilities that the definitions give: temperature, then top-k, top-p and min-p."""
    values = logits.astype(np.float64) / options.temperature
    weights = np.exp(values - values.max())
    order = np.argsort(-weights, kind="stable")
    if options.top_k:
        weights[order[options.top_k :]] = 0
    weights /= weights.sum()
    reached = np.cumsum(weights[order])
    weights[order[np.concatenate([[False], reached[:-1] >= options.top_p])]] = 0
    weights[weights < options.min_p * weights.max()] = 0
    return weights / weights.sum()


@given(
    size=st.sampled_from([5, 600, 3000]),
    spread=st.sampled_from([0.3, 3.0, 12.0]),
    top_k=st.sampled_from([0, 1, 3, 40, 500]),
    top_p=st.sampled_from([0.0, 0.1, 0.8, 0.95, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5]),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_tokens_are_drawn_from_the_distribution_that_the_options_define(size, spread, top_k, top_p, min_p, seed):
    logits = (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)
    options = SamplingOptions(temperature=0.9, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    expected = distribution(logits, options)
    sampler = TokenSampler(options, [])
    chosen = [sampler.choose(logits.copy()) for _ in range(60)]
    assert (expected[chosen] > 0).all()
    if expected.max() < 0.9:
        assert len(set(chosen)) > 1
    if top_p == 0:
        assert set(chosen) == {expected.argmax()}
    # The likeliest comes about as often as it should
    share = np.mean(np.array(chosen) == expected.argmax())
    assert abs(share - expected.max()) < 5 * np.sqrt(0.25 / len(chosen))


def test_a_large_vocabulary_with_a_broken_logit_is_refused():
    logits = np.zeros(4096, np.float32)
    for place in (0, 700, 4095):
        broken = logits.copy()
        broken[place] = np.nan
        with pytest.raises(TinyLMError, match="not numbers"):
            drawn(broken, 1, top_k=40)


def test_presence_and_frequency_penalties_lower_what_the_reply_holds():
    logits = np.array([3.0, 2.0, 1.0, -4.0], np.float32)

    def after(reply, **options):
        sampler = TokenSampler(SamplingOptions(temperature=0, **options), [])
        lowered = logits.copy()
        return sampler.choose(lowered, [0, 1, 2, 3], reply), lowered.tolist()

    assert after([]) == after([], presence_penalty=2, frequency_penalty=2) == (0, [3, 2, 1, -4])
    assert after([0, 0, 2], presence_penalty=1.5) == (1, [1.5, 2, -0.5, -4])
    assert after([0, 0, 2], frequency_penalty=1) == (1, [1, 2, 0, -4])
    assert after([0, 0, 2], presence_penalty=0.5, frequency_penalty=-1) == (0, [4.5, 2, 1.5, -4])


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_penalties_out_of_range_are_named(name):
    for value in (2.1, -2.1, float("nan")):
        with pytest.raises(ConfigError, match=name.replace("_", "-")):
            SamplingOptions(**{name: value})
