"""Held-out data, its windows, and bits per byte by their definition."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import join

from tinylm.config import TokenizerConfig
from tinylm.errors import RunError, TinyLMError
from tinylm.evaluation import (
    IGNORED,
    Score,
    TokenSequences,
    Window,
    byte_lengths_of,
    make_windows,
    negative_log_likelihood,
    score,
)
from tinylm.tokenizer import train_tokenizer

BOS = 1


def sequences(*lengths):
    numbers = iter(range(10, 100_000))
    return join([[next(numbers) for _ in range(length)] for length in lengths])


def uniform(vocab_size):
    return lambda windows: math.log(vocab_size) * sum(int((w.targets != IGNORED).sum()) for w in windows)


def test_windows_do_not_overlap_and_each_opens_with_bos():
    windows = make_windows(join([[10, 11, 12, 13, 14, 15, 16], [20, 21]]), 3, BOS)
    assert [(w.inputs.tolist(), w.targets.tolist()) for w in windows] == [
        ([BOS, 10, 11], [10, 11, 12]),
        ([BOS, 13, 14], [13, 14, 15]),
        ([BOS], [16]),
        ([BOS, 20], [20, 21]),
    ]


def test_only_supervised_tokens_count_and_windows_without_any_are_left_out():
    data = join([[10, 11, 12, 13, 14]], [[False, False, False, True, False]])
    windows = make_windows(data, 3, BOS)
    assert [(w.inputs.tolist(), w.targets.tolist()) for w in windows] == [([BOS, 13], [13, IGNORED])]


@settings(deadline=None, max_examples=100)
@given(lengths=st.lists(st.integers(0, 40), max_size=8), context=st.integers(1, 17))
def test_every_token_is_a_target_once(lengths, context):
    data = sequences(*lengths)
    windows = make_windows(data, context, BOS)
    targets = [id_ for window in windows for id_ in window.targets.tolist()]
    assert targets == data.ids.tolist()
    assert len(windows) == sum(-(-length // context) for length in lengths)
    for window in windows:
        assert 1 <= len(window.inputs) == len(window.targets) <= context
        assert window.inputs.tolist() == [BOS, *window.targets[:-1].tolist()]


@settings(deadline=None, max_examples=100)
@given(count=st.integers(1, 300), positions=st.integers(1, 3000))
def test_a_spread_of_windows_reaches_the_wanted_positions_with_as_few_as_possible(count, positions):
    data = sequences(10 * count)
    every = make_windows(data, 10, BOS)
    chosen = make_windows(data, 10, BOS, positions)
    starts = [int(window.targets[0]) for window in chosen]
    assert len(chosen) == min(count, -(-positions // 10))
    assert starts == sorted(set(starts))
    assert set(starts) <= {int(window.targets[0]) for window in every}


def test_a_spread_of_windows_is_spread():
    data = sequences(10_000)
    starts = [int(window.targets[0]) - 10 for window in make_windows(data, 10, BOS, 1000)]
    assert len(starts) == 100
    for part in range(10):
        assert 5 <= sum(part * 1000 <= start < (part + 1) * 1000 for start in starts) <= 15


def test_bits_per_byte_of_a_uniform_model_by_hand():
    tokenizer = train_tokenizer(["the cat sat on the mat " * 20], 300, TokenizerConfig())
    documents = ["the cat\n", "grüße 👍", "a\0▁b"]
    encoded = [[*tokenizer.encode(text), tokenizer.eos_id] for text in documents]
    tokens = sum(map(len, encoded))
    size = sum(len(text.encode("utf-8")) for text in documents)
    windows = make_windows(join(encoded), 4, tokenizer.bos_id)
    result = score(uniform(300), windows, byte_lengths_of(tokenizer))
    assert (result.tokens, result.bytes) == (tokens, size)
    assert result.loss == pytest.approx(math.log(300))
    assert result.bits_per_byte == pytest.approx(tokens * math.log2(300) / size)


def test_nothing_to_score():
    result = score(uniform(300), [], np.ones(300, np.int64))
    assert result == Score(0.0, 0, 0)
    assert (result.loss, result.bits_per_byte) == (0.0, 0.0)


def test_byte_lengths():
    tokenizer = train_tokenizer(["hello hello hello"], 300, TokenizerConfig())
    lengths = byte_lengths_of(tokenizer)
    assert lengths.shape == (tokenizer.vocab_size,)
    assert lengths[[tokenizer.bos_id, tokenizer.eos_id, *tokenizer.role_ids.values()]].tolist() == [0] * 5
    assert lengths[tokenizer.encode(" hello é")].sum() == len(" hello é".encode())


def test_negative_log_likelihood_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]], np.float32)) + np.float32(7)
    targets = np.array([1, IGNORED, 2])
    assert negative_log_likelihood(logits, targets) == pytest.approx(-math.log(0.25) - math.log(0.5), rel=1e-5)
    assert negative_log_likelihood(logits * 0 + 1e4, targets) == pytest.approx(2 * math.log(3))
    assert negative_log_likelihood(logits, np.full(3, IGNORED)) == 0


def test_sequences_come_back_from_a_file(tmp_path):
    data = join([[1, 2], [], [3]], [[True, False], [], [True]])
    data.save(tmp_path / "val.npz")
    back = TokenSequences.load(tmp_path / "val.npz")
    assert len(back) == 3
    assert list(back.spans()) == [(0, 2), (2, 2), (2, 3)]
    for name in ("ids", "supervised", "ends"):
        assert np.array_equal(getattr(back, name), getattr(data, name))
        assert getattr(back, name).dtype == getattr(data, name).dtype


def broken_files():
    buffer = io.BytesIO()
    np.savez(buffer, ids=np.arange(300), supervised=np.ones(300, bool), ends=np.array([300]))
    whole = buffer.getvalue()
    array = io.BytesIO()
    np.save(array, np.arange(3))
    objects = io.BytesIO()
    np.savez(objects, ids=np.array([{}], object), supervised=np.ones(1), ends=np.ones(1))
    return {
        "empty": b"",
        "text": b"no archive at all",
        "cut early": whole[:60],
        "cut late": whole[:-10],
        "changed header": whole[:30] + b"zz" + whole[32:],
        "changed content": whole[:200] + b"zz" + whole[202:],
        "other names": whole.replace(b"ids.npy", b"odd.npy"),
        "one array": array.getvalue(),
        "objects": objects.getvalue(),
    }


@pytest.mark.parametrize("kind", broken_files())
def test_a_broken_file_is_named(tmp_path, kind):
    path = tmp_path / "val.npz"
    path.write_bytes(broken_files()[kind])
    with pytest.raises(RunError) as error:
        TokenSequences.load(path)
    assert str(error.value).startswith(f"{path}: cannot be read as held-out data")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(RunError, match="cannot be read as held-out data"):
        TokenSequences.load(tmp_path / "none.npz")
    with pytest.raises(TinyLMError, match="cannot be written"):
        sequences(3).save(tmp_path / "none" / "val.npz")


def test_losses_are_asked_for_all_windows_at_once():
    asked = []
    windows = [Window(np.array([BOS]), np.array([5])), Window(np.array([BOS]), np.array([6]))]
    result = score(lambda given: asked.append(list(given)) or 3.0, windows, np.arange(10))
    assert asked == [windows]
    assert result == Score(3.0, 2, 11)
