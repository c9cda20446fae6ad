"""Every row of activations is quantized by itself: forms of int8 agree, and what else is in a call does not count."""

import itertools

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from tinylm.export.builder import MICROSOFT, OPSET, GraphBuilder
from tinylm.export.graph import IR_VERSION, Form, build_graph
from tinylm.export.weights import BlockWeights, FloatWeights, Int8Weights, OneRowWeights
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import Session

ROWS = {"fused": Int8Weights, "portable": lambda matrices=None: Int8Weights(True, matrices)}
SIZES = {"even": (64, 96), "odd": (33, 17), "more than a block": (300, 40), "one output": (48, 1)}
every_form = pytest.mark.parametrize("form", ROWS.values(), ids=ROWS)
every_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


def make_layer(size, bias=True):
    torch.manual_seed(sum(size))
    return torch.nn.Linear(*size, bias=bias)


def apply(weights, layer, x):
    """What a graph of this one layer makes of x [batch, length, inputs]."""
    builder = GraphBuilder()
    result = weights.linear(builder, "x", "layer", layer)
    graph = helper.make_graph(
        builder.nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", layer.in_features])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", "length", layer.out_features])],
        list(builder.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    proto = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def by_torch(layer, x):
    with torch.inference_mode():
        return layer(torch.from_numpy(x)).numpy()


def some_rows(size, batch=1, length=6):
    """Rows of very different sizes and middles."""
    draw = np.random.default_rng(sum(size))
    x = draw.normal(size=(batch, length, size[0])) * np.logspace(-3, 3, length)[:, None]
    x[:, 1] += 0.01
    x[:, 2] = np.abs(x[:, 2])
    x[:, 3] = -np.abs(x[:, 3])
    return x.astype(np.float32)


def assert_close(one, other, tolerance=2e-6):
    """Equal to a part of each row's own largest value."""
    assert one.shape == other.shape
    largest = np.abs(other).max(axis=-1, keepdims=True)
    assert (np.abs(one - other) <= tolerance * largest + 1e-12).all()


@every_size
@every_form
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_close_to_torch_for_small_and_large_rows_alike(size, form, bias):
    layer, x = make_layer(size, bias), some_rows(size, 2)
    expected = by_torch(layer, x)
    error = apply(form(), layer, x) - expected
    # Relative to what the layer can make of a row of that size
    reach = np.linalg.norm(x, axis=-1, keepdims=True) * np.linalg.norm(layer.weight.detach().numpy(), axis=1).max()
    assert (np.abs(error) <= 0.02 * reach).all()


@every_size
@every_form
def test_a_rows_result_does_not_depend_on_the_other_rows(size, form):
    layer, x = make_layer(size), some_rows(size, 2)
    weights = form()
    together = apply(weights, layer, x)
    for batch, row in itertools.product(range(2), range(x.shape[1])):
        alone = apply(weights, layer, x[batch : batch + 1, row : row + 1])
        assert_close(together[batch : batch + 1, row : row + 1], alone)
    # Nor on a row that is out of all proportion
    loud = x.copy()
    loud[0, 0] = 1e6
    assert_close(apply(weights, layer, loud)[:, 1:], together[:, 1:])


@every_size
@pytest.mark.parametrize("bias", [True, False])
def test_fused_portable_and_one_row_weights_agree(size, bias):
    layer, x = make_layer(size, bias), some_rows(size)
    fused = Int8Weights()
    expected = apply(fused, layer, x)
    assert_close(apply(Int8Weights(True, fused.matrices), layer, x), expected)
    for row in range(x.shape[1]):
        one = apply(OneRowWeights(matrices=fused.matrices), layer, x[:, row : row + 1])
        assert_close(one, expected[:, row : row + 1])


@every_size
@pytest.mark.parametrize("bias", [True, False])
def test_blocks_are_of_the_same_matrix(size, bias):
    layer, x = make_layer(size, bias), some_rows(size)
    fused = Int8Weights()
    apply(fused, layer, x)
    matrix = fused.matrices["layer"]
    restored = matrix.levels * matrix.scales
    expected = x @ restored + (layer.bias.detach().numpy() if bias else 0)
    # Of their own are the scales of activations alone
    reach = np.linalg.norm(x, axis=-1, keepdims=True) * np.linalg.norm(restored, axis=0).max()
    for row in range(x.shape[1]):
        one = apply(BlockWeights(matrices=fused.matrices), layer, x[:, row : row + 1])
        assert (np.abs(one - expected[:, row : row + 1]) <= 0.02 * reach[:, row : row + 1]).all()


@every_size
@pytest.mark.parametrize("weights", [*ROWS.values(), OneRowWeights, BlockWeights], ids=[*ROWS, "one row", "blocks"])
def test_a_row_of_zeros_gives_the_bias(size, weights):
    layer = make_layer(size)
    zeros = np.zeros((1, 1, size[0]), np.float32)
    np.testing.assert_allclose(apply(weights(), layer, zeros)[0, 0], layer.bias.detach().numpy(), atol=1e-7)
    if weights in ROWS.values():
        among = np.concatenate([zeros, some_rows(size), zeros], axis=1)
        result = apply(weights(), layer, among)
        np.testing.assert_allclose(result[0, [0, -1]], [layer.bias.detach().numpy()] * 2, atol=1e-7)


@every_form
def test_levels_at_the_limits_with_the_largest_activations_give_exact_sums(form):
    """On a CPU whose kernels saturate, this is off by thousands."""
    layer = make_layer((64, 8), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1, 0.5, 1, -0.25, 0, 0.75, 1])[:, None].expand(8, 64))
    x = np.full((1, 3, 64), 255, np.float32)
    x[0, 1, ::2] = 0
    np.testing.assert_allclose(apply(form(), layer, x), by_torch(layer, x), rtol=0.01)


# A whole graph

SHAPES = {
    "classic": {},
    "classic untied": {"tie_embeddings": False},
    "modern": {"arch": "modern", "num_kv_heads": 2},
    "llama": {"arch": "llama", "num_kv_heads": 2},
}
# fp32 sums are rounded by how many rows a product has; what lies just between two levels may then take either, which
# moves logits by a part of what int8 costs anyway. Their spread here is about 4
TOLERANCE = 0.15


def session_of(model, weights, path, form=Form.FUSED):
    path.write_bytes(build_graph(model, weights, form).SerializeToString())
    return Session(path, model.config, 1)


def logits_in_chunks(session, ids, size):
    session.truncate(0)
    for start in range(0, len(ids), size):
        logits = session.append(ids[start : start + size])
    return logits.copy()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@every_form
def test_the_size_of_a_chunk_changes_next_to_nothing(shape, form, random_model, tmp_path):
    model = random_model(**shape)
    kind = Form.FUSED if form is Int8Weights else Form.PORTABLE
    session = session_of(model, form(), tmp_path / "model.onnx", kind)
    fp32 = session_of(model, FloatWeights(), tmp_path / "fp32.onnx")
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 60).tolist()
    whole = logits_in_chunks(session, ids, len(ids))
    cost = np.abs(whole - logits_in_chunks(fp32, ids, len(ids))).max()
    for size in (1, 2, 3, 7, 16, 31):
        difference = np.abs(logits_in_chunks(session, ids, size) - whole).max()
        assert difference < min(TOLERANCE, cost)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_else_is_in_a_batch_changes_next_to_nothing(shape, random_model):
    model = random_model(**shape)
    config = model.config
    graph = build_graph(model, Int8Weights())
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (2, 20))

    def logits(rows):
        size = (len(rows), config.kv_heads, config.context_length, config.head_dim)
        caches = itertools.product(range(config.num_layers), ("key", "value"))
        cache = {f"past_key_values.{number}.{part}": np.zeros(size, np.float32) for number, part in caches}
        feed = {"input_ids": rows, "attention_mask": np.ones_like(rows), **cache}
        if config.shifts_tokens:
            feed["previous_ids"] = rows[:, :1]
        return session.run(["logits"], feed)[0]

    both = logits(ids)
    for row in range(2):
        assert np.abs(both[row] - logits(ids[row : row + 1])[0]).max() < TOLERANCE
