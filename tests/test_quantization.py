"""Rounding to levels: bearable for every kernel, and as close to the matrix as the levels allow."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper

from tinylm.export.builder import MICROSOFT
from tinylm.export.graph import IR_VERSION
from tinylm.export.quantization import BLOCK_SIZE, quantize_blocks, quantize_columns
from tinylm.export.weights import block_size
from tinylm.runtime.ort import onnxruntime

# What makes rounding hard: the ends of the grid, halves of levels, neighbours that add up, the ends of fp32
NASTY = [0.0, 127, -127, 126.5, -126.5, 64, -64, 63.5, 64.5, -64.5, 65.5, 62.5, 1, -1, 0.5, 1e38, -1e38, 1e-30, 1e-40]
MATRICES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.one_of(
        st.sampled_from(NASTY), st.floats(-150, 150, width=32), st.floats(-(2.0**126), 2.0**126, width=32)
    ),
)


def saturating_pair_sums(activations, levels):
    """What AVX2's vpmaddubsw makes of uint8 activations [n, inputs] and int8 levels: int16 [n, inputs / 2, outputs]."""
    products = activations[:, :, None].astype(np.int64) * levels
    return np.clip(products[:, 0::2] + products[:, 1::2], -(2**15), 2**15 - 1)


def exact_pair_sums(activations, levels):
    products = activations[:, :, None].astype(np.int64) * levels
    return products[:, 0::2] + products[:, 1::2]


def assert_bearable(levels):
    """No level passes 127, no two neighbours add up to more than 128, and so no sum of AVX2 ever saturates."""
    assert levels.dtype == np.int8
    wide = levels.astype(np.int64)
    even = len(wide) // 2 * 2
    assert np.abs(wide).max() <= 127
    assert np.abs(wide[0:even:2] + wide[1:even:2]).max(initial=0) <= 128
    ends = np.array(list(itertools.product([0, 255], repeat=2)), np.uint8)
    activations = np.tile(ends, even // 2)
    assert (saturating_pair_sums(activations, levels[:even]) == exact_pair_sums(activations, levels[:even])).all()


@given(MATRICES)
def test_levels_are_bearable_and_off_by_half_a_level_at_most(matrix):
    quantized = quantize_columns(matrix)
    assert_bearable(quantized.levels)
    assert quantized.scales.dtype == np.float32
    assert (quantized.scales > 0).all()
    restored = quantized.levels.astype(np.float64) * quantized.scales
    # Below 1e-30, fp32 itself has no room for 127 levels
    usual = np.abs(matrix).max(axis=0) > 1e-30
    assert (np.abs(restored - matrix) <= quantized.scales * (0.5 + 1e-4))[:, usual].all()
    assert (restored[matrix == 0] == 0).all()


@pytest.mark.parametrize("inputs", [127, 128, 129, 300])
def test_a_matrix_of_nothing_but_large_weights_is_bearable(inputs):
    draw = np.random.default_rng(inputs)
    matrix = draw.choice([1, 0.999, 0.5, 0.51, -1, -0.999], (inputs, 40)).astype(np.float32)
    matrix[:, 0], matrix[:, 1], matrix[:, 2] = 1, 0, -1
    levels = quantize_columns(matrix).levels
    assert_bearable(levels)
    assert not levels[:, 1].any()
    # The grid is used to its end
    assert np.abs(levels.astype(int)).max() >= 64


def test_the_limits_of_levels_are_those_of_16_bits():
    pairs = np.array(list(itertools.product(range(-127, 128), repeat=2)), np.int64)
    ends = np.array(list(itertools.product([0, 255], repeat=2)), np.uint8)
    saturated = (saturating_pair_sums(ends, pairs.T) != exact_pair_sums(ends, pairs.T)).any(axis=(0, 1))
    sums = np.abs(pairs.sum(axis=1))
    assert not saturated[sums <= 128].any()
    assert saturated[sums > 128].all()


def test_levels_by_hand():
    matrix = np.array([[127, 0, -1, 100], [-63.4, 0, 0.5, 100], [1, 0, 0, 0]], np.float32)
    quantized = quantize_columns(matrix)
    assert quantized.levels.tolist() == [[127, 0, -127, 64], [-63, 0, 64, 64], [1, 0, 0, 0]]
    # In the last column, two neighbours are what limits the grid
    assert quantized.scales.tolist() == [1.0, 1.0, pytest.approx(1 / 127), pytest.approx(200 / 128)]


@given(st.integers(1, 5000))
def test_blocks_of_a_row_are_filled_but_for_a_few_percent(inputs):
    size = block_size(inputs)
    sizes = {16, 32, 64, 128, 256}
    assert size in sizes
    assert size == 16 or -inputs % size <= 0.05 * inputs
    # Never smaller than one that needs no padding at all
    assert size >= max((each for each in sizes if inputs % each == 0), default=16)


def slow_blocks(matrix):
    """4-bit values of a matrix [outputs, inputs], restored, one block at a time."""
    restored = np.zeros_like(matrix, np.float64)
    for row in range(len(matrix)):
        for start in range(0, matrix.shape[1], BLOCK_SIZE):
            block = matrix[row, start : start + BLOCK_SIZE].astype(np.float64)
            scale = max(block, key=abs) / -8 or 1.0
            for place, value in enumerate(block):
                level = min(max(round(value / scale), -8), 7)
                restored[row, start + place] = level * scale
    return restored


def unpacked(levels, scales, inputs):
    """What the packed form of `quantize_blocks` says, restored."""
    outputs, blocks, _ = levels.shape
    values = np.stack([levels & 15, levels >> 4], axis=-1).reshape(outputs, blocks, BLOCK_SIZE).astype(np.float64) - 8
    return (values * scales.reshape(outputs, blocks, 1)).reshape(outputs, -1)[:, :inputs]


def block_matrix(outputs, inputs):
    matrix = np.random.default_rng(inputs).normal(size=(outputs, inputs)).astype(np.float32)
    matrix[0] = 0
    matrix[1, : inputs // 2] *= 1000
    return matrix


@pytest.mark.parametrize("inputs", [1, 31, 32, 48, 64, 130])
def test_4_bit_blocks_are_what_a_slow_reference_says(inputs):
    matrix = block_matrix(9, inputs)
    levels, scales = quantize_blocks(matrix)
    assert levels.shape == (9, -(-inputs // BLOCK_SIZE), BLOCK_SIZE // 2)
    assert levels.dtype == np.uint8
    restored = unpacked(levels, scales, inputs)
    np.testing.assert_allclose(restored, slow_blocks(matrix), rtol=1e-6)
    steps = np.abs(scales).reshape(9, -1).repeat(BLOCK_SIZE, axis=1)[:, :inputs]
    # Beyond 7 levels there is no 8th on the other side
    assert (np.abs(restored - matrix) <= 1.0001 * steps).all()
    assert not restored[0].any()


@pytest.mark.parametrize("inputs", [32, 48, 64, 130])
def test_onnxruntime_reads_4_bit_blocks_as_we_write_them(inputs):
    matrix = block_matrix(24, inputs)
    levels, scales = quantize_blocks(matrix)
    node = helper.make_node(
        "MatMulNBits", ["x", "b", "scales"], ["y"], domain=MICROSOFT, K=inputs, N=24, bits=4, block_size=BLOCK_SIZE
    )
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 24])],
        [numpy_helper.from_array(levels, "b"), numpy_helper.from_array(scales, "scales")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    proto = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(7, inputs)).astype(np.float32)
    expected = x @ unpacked(levels, scales, inputs).T
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
