"""Sampling, and the generation loop on decoders whose logits are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinylm.errors import ConfigError, ContextFullError, TinyLMError
from tinylm.runtime import Generation, SamplingOptions
from tinylm.runtime.sampling import TokenSampler
from tinylm.runtime.session import PREFILL_CHUNK, Session, TokenSequence, default_threads
from tinylm.tokenizer import load_tokenizer

NEVER = [0, 1, 3]


def logits_of(*probabilities):
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities, np.float32))


def drawn(logits, count=400, never=(), **options):
    sampler = TokenSampler(
        SamplingOptions(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1, **options}), never
    )
    return [sampler.choose(logits.copy()) for _ in range(count)]


def test_temperature_0_takes_the_likeliest_and_draws_nothing():
    sampler = TokenSampler(SamplingOptions(temperature=0, seed=3), [])
    state = sampler._random.getstate()
    assert sampler.choose(logits_of(0.2, 0.5, 0.3)) == 1
    assert sampler._random.getstate() == state


def test_top_k_1_is_greedy_at_any_temperature():
    assert set(drawn(logits_of(0.2, 0.5, 0.3), temperature=100, top_k=1)) == {1}


@pytest.mark.parametrize(
    ("top_k", "kept"),
    [(0, {0, 1, 2, 3, 4}), (1, {3}), (2, {3, 0}), (3, {3, 0, 4}), (4, {3, 0, 4, 1}), (99, set(range(5)))],
)
def test_top_k_keeps_the_k_likeliest(top_k, kept):
    assert set(drawn(logits_of(0.25, 0.12, 0.08, 0.4, 0.15), top_k=top_k)) == kept


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, {3}),
        (0.39, {3}),
        (0.41, {3, 0}),
        (0.64, {3, 0}),
        (0.66, {3, 0, 4}),
        (0.93, {3, 0, 4, 1, 2}),
        (1.0, set(range(5))),
    ],
)
def test_top_p_keeps_the_likeliest_that_reach_it(top_p, kept):
    assert set(drawn(logits_of(0.25, 0.12, 0.08, 0.4, 0.15), top_p=top_p)) == kept


def test_top_p_counts_within_what_top_k_left():
    # Of the three likeliest, 0.4 + 0.25 are 0.8125 of what is left
    assert set(drawn(logits_of(0.25, 0.12, 0.08, 0.4, 0.15), top_k=3, top_p=0.8)) == {3, 0}
    assert set(drawn(logits_of(0.25, 0.12, 0.08, 0.4, 0.15), top_k=3, top_p=0.82)) == {3, 0, 4}


def test_top_p_is_taken_after_the_temperature():
    logits = logits_of(0.5, 0.3, 0.2)
    assert set(drawn(logits, top_p=0.6)) == {0, 1}
    assert set(drawn(logits, top_p=0.6, temperature=0.2)) == {0}
    assert set(drawn(logits, top_p=0.8, temperature=50)) == {0, 1, 2}


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-3])
def test_tiny_temperatures_are_greedy(temperature):
    logits = np.array([1.0, -3e38, 2.0, -np.inf], np.float32)
    assert set(drawn(logits, count=50, temperature=temperature)) == {2}


def test_high_temperature_flattens():
    counts = np.bincount(drawn(logits_of(0.9, 0.05, 0.05), count=3000, temperature=100), minlength=3)
    assert counts.min() > 800


def test_sampling_follows_the_models_own_distribution():
    wanted = np.array([0.5, 0.25, 0.15, 0.1])
    shares = np.bincount(drawn(logits_of(*wanted), count=20_000), minlength=4) / 20_000
    assert np.abs(shares - wanted).max() < 0.015
    # Within the kept ones the proportions stay
    shares = np.bincount(drawn(logits_of(*wanted), count=20_000, top_k=2), minlength=4) / 20_000
    assert np.abs(shares - [2 / 3, 1 / 3, 0, 0]).max() < 0.015


def test_equal_seeds_choose_equally_and_others_do_not():
    logits = logits_of(*[0.01] * 100)
    assert drawn(logits, seed=5) == drawn(logits, seed=5)
    assert drawn(logits, seed=5) != drawn(logits, seed=6)
    assert drawn(logits, seed=None) != drawn(logits, seed=None)
    assert drawn(logits, seed=2**200) == drawn(logits, seed=2**200)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", -1),
        ("temperature", -0.01),
        ("temperature", 100.5),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -2),
        ("top_p", -0.01),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("seed", -2),
        ("max_new_tokens", 0),
    ],
)
def test_an_option_out_of_range_is_named(option, value):
    with pytest.raises(ConfigError, match=option.replace("_", "-")) as caught:
        SamplingOptions(**{option: value})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


any_logits = arrays(
    np.float32,
    st.integers(6, 24),
    elements=st.one_of(
        st.floats(-50, 50, width=32),
        st.sampled_from([-np.inf, np.inf, 3e38, -3e38, 0.0, 1e-40]),
    ),
)


@given(
    logits=any_logits,
    temperature=st.one_of(st.sampled_from([0, 1e-300, 1e-6, 1, 100]), st.floats(0, 100)),
    top_k=st.integers(0, 30),
    top_p=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=300)
def test_ids_that_are_never_sampled_never_come_out(logits, temperature, top_k, top_p, seed):
    sampler = TokenSampler(SamplingOptions(temperature, top_k, top_p, seed), NEVER)
    # A model that wants nothing else
    logits[NEVER] = np.maximum(logits[NEVER], 60)
    for _ in range(5):
        chosen = sampler.choose(logits.copy())
        assert 0 <= chosen < len(logits)
        assert chosen not in NEVER


def test_infinite_logits_are_certain_and_impossible():
    assert set(drawn(np.array([0, np.inf, 0, -np.inf], np.float32), count=30)) == {1}
    assert set(drawn(np.array([0, -np.inf, 0, -np.inf], np.float32))) == {0, 2}
    assert set(drawn(np.full(5, -np.inf, np.float32), never=[0, 1])) == {2, 3, 4}


@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_no_numbers_are_refused(temperature):
    with pytest.raises(TinyLMError, match="not numbers"):
        drawn(np.array([0, np.nan, 1], np.float32), temperature=temperature)


class Scripted:
    """A decoder that wants to say given ids, whatever it has read."""

    def __init__(self, vocab_size, script, context_length=64):
        self.vocab_size, self.context_length, self.script = vocab_size, context_length, script
        self.ids, self.appended = [], []

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        assert 0 <= length <= self.length
        del self.ids[length:]

    def append(self, ids):
        assert ids
        assert self.length + len(ids) <= self.context_length
        self.ids += ids
        self.appended.append(list(ids))
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self.script[(len(self.appended) - 1) % len(self.script)]] = 50
        return logits


@pytest.fixture(scope="module")
def tokenizer(bundle):
    return load_tokenizer(bundle / "tokenizer.model")


def generate(tokenizer, script, prompt=(5, 6, 7), should_stop=lambda: False, context_length=64, **options):
    decoder = Scripted(tokenizer.vocab_size, script, context_length)
    sampler = TokenSampler(SamplingOptions(**{"temperature": 0, **options}), tokenizer.never_sampled)
    generation = Generation(decoder, tokenizer, list(prompt), sampler, should_stop)
    return decoder, generation, list(generation)


def test_pieces_join_to_the_reply_and_the_model_ends_it(tokenizer):
    ids = tokenizer.encode("The basil is 🌱 green.\n")
    decoder, generation, pieces = generate(tokenizer, [*ids, tokenizer.eos_id])
    result = generation.result
    assert "".join(pieces) == result.reply == "The basil is 🌱 green.\n"
    assert all(pieces)
    assert "�" not in "".join(pieces)
    assert result.ids == ids
    assert result.finish_reason == "stop"
    assert (result.prompt_tokens, result.reused_tokens) == (3, 0)
    assert result.completion_tokens == len(ids) + 1
    # <eos> is not put into the cache: what follows it is
    assert decoder.ids == [5, 6, 7, *ids]
    assert result.time_to_first_token_s > 0
    assert result.decode_tokens_per_second > 0


def test_half_a_character_at_the_end_becomes_a_stand_in(tokenizer):
    ids = tokenizer.encode("🌱")
    assert len(ids) == 4, "written as bytes"
    _, generation, pieces = generate(tokenizer, [*ids[:2], tokenizer.eos_id])
    assert "".join(pieces) == generation.result.reply == "�"


def test_max_new_tokens_ends_a_reply(tokenizer):
    decoder, generation, _ = generate(tokenizer, tokenizer.encode("ab"), max_new_tokens=7)
    assert generation.result.finish_reason == "length"
    assert generation.result.completion_tokens == len(generation.result.ids) == 7
    # The last token was never needed in the cache
    assert decoder.length == 3 + 6


def test_a_full_context_ends_a_reply(tokenizer):
    decoder, generation, _ = generate(tokenizer, tokenizer.encode("ab"), context_length=16)
    assert generation.result.finish_reason == "context"
    assert decoder.length == 16
    assert generation.result.completion_tokens == 14


@pytest.mark.parametrize("length", [15, 16, 17, 40])
def test_a_prompt_must_leave_room_for_a_token(tokenizer, length):
    prompt = [7] * length
    if length < 16:
        _, generation, _ = generate(tokenizer, tokenizer.encode("a"), prompt, context_length=16)
        assert generation.result.completion_tokens == 2
    else:
        with pytest.raises(ContextFullError, match=str(length)):
            generate(tokenizer, [9], prompt, context_length=16)


def test_cancelled_during_prefill(tokenizer):
    decoder, generation, pieces = generate(tokenizer, [9], [7] * 200, should_stop=lambda: True, context_length=256)
    result = generation.result
    assert pieces == []
    assert result.finish_reason == "cancelled"
    assert (result.reply, result.ids, result.completion_tokens) == ("", [], 0)
    assert result.decode_tokens_per_second == 0
    assert decoder.length == PREFILL_CHUNK


def test_cancelled_between_tokens(tokenizer):
    answers = iter([False] * 4 + [True] * 9)
    ids = tokenizer.encode("abcdefgh")
    _, generation, pieces = generate(tokenizer, ids, should_stop=lambda: next(answers))
    assert generation.result.finish_reason == "cancelled"
    assert generation.result.ids == ids[:4]
    assert "".join(pieces) == generation.result.reply == tokenizer.decode(ids[:4])


def test_a_step_is_a_chunk_of_the_prompt_or_a_token(tokenizer):
    ids = tokenizer.encode("🌱")
    decoder = Scripted(tokenizer.vocab_size, [9, 9, *ids, tokenizer.eos_id], context_length=256)
    sampler = TokenSampler(SamplingOptions(temperature=0), tokenizer.never_sampled)
    generation = Generation(decoder, tokenizer, [7] * (2 * PREFILL_CHUNK + 1), sampler)
    steps = generation.steps()
    lengths = [(decoder.length, piece) for piece in steps]
    chunks = [(PREFILL_CHUNK, ""), (2 * PREFILL_CHUNK, "")]
    tokens = [(2 * PREFILL_CHUNK + 1 + number, "🌱" if number == 3 else "") for number in range(4)]
    assert lengths == [*chunks, *tokens]
    assert generation.result.reply == "🌱"


def test_an_abandoned_iterator_is_cancelled(tokenizer):
    decoder = Scripted(tokenizer.vocab_size, tokenizer.encode("abc"))
    sampler = TokenSampler(SamplingOptions(temperature=0), tokenizer.never_sampled)
    generation = Generation(decoder, tokenizer, [5], sampler)
    pieces = iter(generation)
    first = next(pieces)
    pieces.close()
    assert generation.result.finish_reason == "cancelled"
    assert generation.result.reply == first
    assert generation.result.completion_tokens == 1


def test_the_result_before_the_end_is_a_mistake(tokenizer):
    generation = Generation(Scripted(9, [1]), tokenizer, [5], TokenSampler(SamplingOptions(), []))
    with pytest.raises(RuntimeError, match="iterate"):
        _ = generation.result


@pytest.mark.parametrize("temperature", [0, 0.7, 5])
def test_a_model_that_wants_to_play_a_role_cannot(tokenizer, temperature):
    for forbidden in tokenizer.never_sampled:
        _, generation, _ = generate(tokenizer, [forbidden], temperature=temperature, max_new_tokens=40, seed=1)
        assert not set(generation.result.ids) & set(tokenizer.never_sampled)


def test_session_refuses_what_does_not_fit_and_stays_as_it_was(bundles):
    from tinylm.manifest import read_manifest

    folder = bundles["modern", "fp32"]
    session = Session(folder / "model.onnx", read_manifest(folder).model)
    session.append([7] * 90)
    with pytest.raises(ContextFullError):
        session.append([7] * 7)
    assert session.length == 90
    assert session.append([7] * 6) is not None
    with pytest.raises(ValueError, match="no tokens"):
        session.append([])
    for length in (-1, 97):
        with pytest.raises(ValueError, match="cannot keep"):
            session.truncate(length)


def test_sequences_on_one_model_do_not_disturb_each_other(bundles):
    from tinylm.manifest import read_manifest

    for precision in ("fp32", "int8"):
        folder = bundles["modern", precision]
        session = Session(folder / "model.onnx", read_manifest(folder).model)
        others = {first: TokenSequence(session.model) for first in (5, 6)}
        for first, other in others.items():
            other.append([first, 9])
        for first, other in others.items():
            copied = TokenSequence(session.model)
            copied.copy_start(other, 2)
            assert list(copied.ids) == [first, 9]
            copied.append([77])
            session.truncate(0)
            session.append([first, 9])
            assert (other.append([8]) == session.append([8])).all()
        assert session.model.cache_bytes == sum(value.numpy().nbytes for value in session._cache)


@pytest.mark.parametrize(("size", "threads"), [(0, 1), (1, 1), (16_000_000, 1), (16_000_001, 2), (10**9, 4)])
def test_threads_follow_the_size_of_the_model(size, threads, monkeypatch):
    monkeypatch.setattr("tinylm.runtime.session.usable_threads", lambda: 8)
    assert default_threads(size) == threads
    monkeypatch.setattr("tinylm.runtime.session.usable_threads", lambda: 1)
    assert default_threads(size) == 1
