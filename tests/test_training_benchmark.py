"""The training benchmark's own code: what both systems see, what they are scored on, and what is made of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tinylm.errors import TinyLMError
from tinylm.evaluation import IGNORED

FOLDER = Path(__file__).parents[1] / "benchmarks"
# What the benchmark needs of the peer: options on the command line, times on stdout, a checkpoint, and a model for it
TRAIN = """
import os, sys, numpy as np, pickle, torch
options = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
assert (options["compile"], options["dtype"], options["gradient_accumulation_steps"]) == ("False", "float32", "1")
data = options["dataset"]
training, held_out = (np.fromfile(os.path.join(data, name), np.uint16) for name in ("train.bin", "val.bin"))
assert len(training) > len(held_out)
vocabulary = pickle.load(open(os.path.join(data, "meta.pkl"), "rb"))["vocab_size"]
for step in range(int(options["max_iters"]) + 1):
    print(f"iter {step}: loss 1.0, time {100.0 + step}ms, mfu 1%")
os.makedirs(options["out_dir"])
saved = {"model": {"weight": torch.zeros(vocabulary)}, "model_args": {"vocab_size": vocabulary}}
torch.save(saved, os.path.join(options["out_dir"], "ckpt.pt"))
"""
MODEL = """
from dataclasses import dataclass
import torch

@dataclass
class GPTConfig:
    vocab_size: int

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(config.vocab_size))

    def forward(self, ids, targets):
        return self.weight.expand(*ids.shape, -1), None
"""


@pytest.fixture(scope="module")
def benchmarks():
    sys.path.insert(0, str(FOLDER))
    try:
        names = {"training": "training", "stream": "token_stream", "nanogpt": "peers.nanogpt"}
        yield SimpleNamespace(**{name: importlib.import_module(module) for name, module in names.items()})
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(f"The {n}th cat sat on mat number {n * n}, and it purred." for n in range(400)))
    return path


@pytest.fixture(scope="module")
def stream(benchmarks, text):
    return benchmarks.stream.TokenStream.of(text, 400, 1)


@pytest.fixture
def peer(benchmarks, stream, tmp_path):
    folder = tmp_path / "peer"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text(MODEL)
    peer = benchmarks.nanogpt.NanoGPT(folder, tmp_path, 1)
    peer.prepare(stream)
    return peer


def test_the_last_documents_are_held_out(stream, benchmarks):
    ids = stream.held_out
    assert ids[0] == stream.bos_id
    assert (ids == stream.bos_id).sum() == 8
    assert (stream.training == stream.bos_id).sum() == 392
    windows = stream.windows(16)
    assert all(window.inputs.shape == window.targets.shape == (16,) for window in windows)
    joined = np.concatenate([window.targets for window in windows])
    expected = ids[1 : len(joined) + 1].astype(np.int64)
    np.testing.assert_array_equal(joined[joined != IGNORED], expected[expected != stream.bos_id])
    counted = int((joined != IGNORED).sum())
    assert benchmarks.stream.mean_loss(lambda scored: counted * len(scored) / len(windows), windows) == 1.0


def test_rows_are_the_stream_behind_bos_each_once_an_epoch(stream):
    rows = stream.rows(16, seed=1)
    count = len(stream.training) // 16
    inputs, targets, segments = rows.batch(0, count)
    np.testing.assert_array_equal(np.diff(segments), inputs[:, 1:] == stream.bos_id)
    assert (inputs[:, 0] == stream.bos_id).all()
    np.testing.assert_array_equal(inputs[:, 1:], np.where(targets == IGNORED, stream.bos_id, targets)[:, :-1])
    body = np.where(targets == IGNORED, stream.bos_id, targets)
    expected = stream.training[: count * 16].reshape(count, 16)
    assert sorted(map(tuple, body)) == sorted(map(tuple, expected.tolist()))
    assert not np.array_equal(inputs, rows.batch(1, count).inputs)


def test_too_little_text_is_refused(benchmarks, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("one document")
    with pytest.raises(TinyLMError, match="2 %"):
        benchmarks.stream.TokenStream.of(path, 300, 1)


def test_the_peer_is_run_by_its_own_script_and_scored_on_our_windows(peer, stream, benchmarks):
    trained = peer.train({"n_layer": 1}, 5, 1e-3)
    # Neither the first nor the last iteration, which also evaluate
    assert trained.step_seconds == pytest.approx([0.101, 0.102, 0.103, 0.104])
    windows = stream.windows(16)
    loss = benchmarks.stream.mean_loss(lambda w: peer.losses(trained, w, 3), windows)
    assert loss == pytest.approx(np.log(stream.vocab_size), rel=1e-5)


def test_a_peer_that_is_none_is_refused(benchmarks, tmp_path):
    with pytest.raises(TinyLMError, match=r"no train.py there"):
        benchmarks.nanogpt.NanoGPT(tmp_path, tmp_path, 1)


def test_a_peer_that_fails_says_why(peer):
    (peer.path / "train.py").write_text("raise SystemExit('no memory')")
    with pytest.raises(TinyLMError, match="no memory"):
        peer.train({}, 2, 1e-3)


def test_ours_is_trained_and_its_curve_kept(benchmarks, stream, monkeypatch):
    for name, value in {"LAYERS": 1, "HEADS": 2, "WIDTH": 32, "CONTEXT": 16, "BATCH": 4}.items():
        monkeypatch.setattr(benchmarks.training, name, value)
    threads = torch.get_num_threads()
    curve = benchmarks.training.train(stream, ["train.optimizer=adamw"], 12, 3, threads)
    assert curve.tokens == 12 * 4 * 16
    assert len(curve.losses) == len(curve.bits_per_byte) == len(curve.seconds) == 3
    assert curve.seconds == sorted(curve.seconds)
    assert curve.losses[-1] < curve.losses[0]
    assert curve.parameters > 32 * 400


def test_time_to_a_loss_lies_between_two_validations(benchmarks):
    curve = benchmarks.training.Curve(seconds=[10.0, 20.0, 30.0], losses=[4.0, 3.0, 2.0])
    assert benchmarks.training.time_to(2.5, curve) == 25.0
    assert benchmarks.training.time_to(5.0, curve) == 10.0
    assert benchmarks.training.time_to(1.0, curve) == float("inf")
