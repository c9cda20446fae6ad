"""The ONNX graphs: equal to torch at every position, however the tokens come in."""

import itertools

import numpy as np
import onnx
import pytest
import torch

from tinylm.config import make_config
from tinylm.errors import ConfigError
from tinylm.export.graph import build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import PREFILL_CHUNK, Session

SHAPES = {
    "classic tied": {},
    "classic untied": {"tie_embeddings": False},
    "classic wide": {"nhead": 2, "num_layers": 1, "dim_feedforward": 48},
    "modern tied": {"arch": "modern"},
    "modern without shift": {"arch": "modern", "token_shift": False},
    "modern untied": {"arch": "modern", "tie_embeddings": False},
    "modern grouped": {"arch": "modern", "num_kv_heads": 2},
    "modern one kv head": {"arch": "modern", "num_kv_heads": 1, "tie_embeddings": False, "num_layers": 3},
    "qwen2": {"arch": "llama", "qkv_bias": True, "tie_embeddings": False},
    "qwen3": {"arch": "llama", "qk_norm": True, "head_size": 32, "num_kv_heads": 1},
}


def session_of(model, weights, folder):
    path = folder / "model.onnx"
    path.write_bytes(build_graph(model, weights).SerializeToString())
    return Session(path, model.config, 1)


def torch_logits(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids]))[0].numpy()


def random_ids(model, length, seed=0):
    return np.random.default_rng(seed).integers(0, model.config.vocab_size, length).tolist()


def decode(session, ids):
    session.truncate(0)
    return np.stack([session.append([id_]).copy() for id_ in ids])


def likeliest_new(logits, ids):
    """The likeliest token that is not there yet: random weights like to repeat themselves, which would prove little."""
    logits = logits.copy()
    logits[ids] = -np.inf
    return int(logits.argmax())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fp32_graph_equals_torch_at_every_position_of_a_full_context(shape, random_model, tmp_path):
    model = random_model(**shape)
    session = session_of(model, FloatWeights(), tmp_path)
    ids = random_ids(model, model.config.context_length)
    expected = torch_logits(model, ids)
    # Else the comparison would say little
    assert expected.std() > 1
    decoded = decode(session, ids)
    assert np.abs(decoded - expected).max() < 1e-4


@pytest.mark.parametrize("arch", ["classic", "modern"])
@pytest.mark.parametrize("head_dim", [8, 16, 24, 32, 40])
def test_every_width_of_a_head_that_can_be_trained_can_be_exported(arch, head_dim, random_model, tmp_path):
    shape = {"arch": arch, "d_model": 2 * head_dim, "nhead": 2, "vocab_size": 280, "num_layers": 1}
    try:
        make_config({"model": shape})
    except ConfigError:
        assert head_dim % 16, "refused, and before any training"
        return
    model = random_model(**shape)
    ids = random_ids(model, 80)
    assert np.abs(session_of(model, FloatWeights(), tmp_path).append(ids) - torch_logits(model, ids)[-1]).max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_prefill_in_chunks_equals_decoding_one_by_one(shape, random_model, tmp_path):
    model = random_model(**shape)
    session = session_of(model, FloatWeights(), tmp_path)
    ids = random_ids(model, model.config.context_length)
    expected = torch_logits(model, ids)
    for length in (1, 2, PREFILL_CHUNK - 1, PREFILL_CHUNK, PREFILL_CHUNK + 1, 2 * PREFILL_CHUNK + 3, len(ids)):
        session.truncate(0)
        assert np.abs(session.append(ids[:length]) - expected[length - 1]).max() < 1e-4
    # A chunk on top of a cache that was cut back
    for kept, added in ((100, 1), (100, 7), (37, 90), (1, 200)):
        session.truncate(0)
        session.append(ids)
        session.truncate(kept)
        assert np.abs(session.append(ids[kept : kept + added]) - expected[kept + added - 1]).max() < 1e-4
        assert session.length == kept + added


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_200_greedy_tokens_are_equal_with_and_without_the_cache(shape, random_model, tmp_path):
    model = random_model(**shape)
    session = session_of(model, FloatWeights(), tmp_path)
    prompt = random_ids(model, 20, seed=1)
    ids = list(prompt)
    pending = ids
    for _ in range(200):
        pending = [likeliest_new(session.append(pending), ids)]
        ids = ids + pending
    without_cache, by_torch = list(prompt), list(prompt)
    for _ in range(200):
        session.truncate(0)
        without_cache.append(likeliest_new(session.append(without_cache), without_cache))
        by_torch.append(likeliest_new(torch_logits(model, by_torch)[-1], by_torch))
    assert ids == without_cache
    assert ids == by_torch


@pytest.mark.parametrize("arch", ["classic", "modern"])
@pytest.mark.parametrize("tied", [True, False])
def test_int8_graph_stays_close_to_torch(arch, tied, random_model, tmp_path):
    model = random_model(arch=arch, tie_embeddings=tied, scale=12.5)
    session = session_of(model, Int8Weights(), tmp_path)
    ids = random_ids(model, model.config.context_length)
    expected = torch_logits(model, ids)
    decoded = decode(session, ids)
    assert np.sqrt(((decoded - expected) ** 2).mean()) < 0.1 * expected.std()
    assert (decoded.argmax(-1) == expected.argmax(-1)).mean() > 0.8


@pytest.mark.parametrize("arch", ["classic", "modern"])
@pytest.mark.parametrize("tied", [True, False])
def test_int8_file_is_at_most_30_percent_of_fp32(arch, tied, random_model):
    model = random_model(
        arch=arch,
        tie_embeddings=tied,
        d_model=288,
        nhead=6,
        num_layers=6,
        dim_feedforward=1152,
        vocab_size=4096,
        context_length=1024,
    )
    fp32, int8 = (len(build_graph(model, weights).SerializeToString()) for weights in (FloatWeights(), Int8Weights()))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert 4 * parameters < fp32 < 4.1 * parameters
    assert int8 <= 0.30 * fp32


@pytest.mark.parametrize("weights", [FloatWeights, Int8Weights], ids=["fp32", "int8"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_names_shapes_and_types_are_as_documented(shape, weights, random_model):
    model = random_model(**shape)
    config = model.config
    graph = build_graph(model, weights())
    onnx.checker.check_model(graph, full_check=False)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    layers = [f"{number}.{part}" for number, part in itertools.product(range(config.num_layers), ("key", "value"))]
    assert [value.name for value in session.get_inputs()] == [
        "input_ids",
        "attention_mask",
        *(["previous_ids"] if config.shifts_tokens else []),
        *(f"past_key_values.{layer}" for layer in layers),
    ]
    assert [value.name for value in session.get_outputs()] == ["logits", *(f"present.{layer}" for layer in layers)]
    types = {value.name: value.type for value in (*session.get_inputs(), *session.get_outputs())}
    assert types.pop("input_ids") == types.pop("attention_mask") == "tensor(int64)"
    assert types.pop("previous_ids", "tensor(int64)") == "tensor(int64)"
    assert set(types.values()) == {"tensor(float)"}
    cache = ["batch", config.kv_heads, config.context_length, config.head_dim]
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["logits"] == ["batch", 1, config.vocab_size]
    assert shapes["past_key_values.0.key"] == cache
    assert shapes["present.0.value"] == cache


def test_tied_embedding_is_stored_once(random_model):
    tied, untied = random_model(), random_model(tie_embeddings=False)
    table = tied.config.vocab_size * tied.config.d_model
    for weights, size in ((FloatWeights, 4), (Int8Weights, 1)):
        sizes = [len(build_graph(model, weights()).SerializeToString()) for model in (tied, untied)]
        more = sizes[1] - sizes[0]
        assert abs(more - table * size) < 4 * tied.config.vocab_size + 500


def test_building_a_graph_leaves_the_model_as_it_was(random_model):
    model = random_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert (
        build_graph(model, Int8Weights()).SerializeToString() == build_graph(model, Int8Weights()).SerializeToString()
    )
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
