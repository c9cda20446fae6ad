"""What onnxruntime runs: int8 kernels on int8 matrices, no costly fusion, a cache that is appended in place."""

import collections
import itertools

import numpy as np
import onnx
import pytest

from tinylm.export import decoders
from tinylm.export.graph import Form, build_graph
from tinylm.export.weights import BlockWeights, FloatWeights, Int8Weights, OneRowWeights
from tinylm.manifest import ANY_CPU, DECODE_FILES, X86
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import Session

SHAPES = {
    "classic tied": {},
    "classic untied": {"tie_embeddings": False},
    "classic wide": {"nhead": 2, "num_layers": 1, "dim_feedforward": 48},
    "modern tied": {"arch": "modern"},
    "modern without shift": {"arch": "modern", "token_shift": False},
    "modern grouped": {"arch": "modern", "num_kv_heads": 2},
    "modern one kv head": {"arch": "modern", "num_kv_heads": 1, "tie_embeddings": False, "num_layers": 3},
    "qwen2": {"arch": "llama", "qkv_bias": True, "tie_embeddings": False},
    "qwen3": {"arch": "llama", "qk_norm": True, "head_size": 32, "num_kv_heads": 1},
}
KERNELS = {
    "model.onnx": "MatMulIntegerToFloat",
    "decode.onnx": "DynamicQuantizeMatMul",
    "decode-x86.onnx": "MatMulNBits",
    "fp32.onnx": "MatMul",
}
MARK = 7.5


@pytest.fixture
def graphs(random_model, tmp_path, monkeypatch):
    """Every graph of a model, in one folder."""
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)

    def make(**shape):
        model, weights = random_model(**shape), Int8Weights()
        (tmp_path / "fp32.onnx").write_bytes(build_graph(model, FloatWeights()).SerializeToString())
        (tmp_path / "model.onnx").write_bytes(build_graph(model, weights).SerializeToString())
        assert decoders.write_decoders(tmp_path, model, weights) == DECODE_FILES
        return model, tmp_path

    return make


def optimized(path):
    """The graph as onnxruntime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(path.with_suffix(".optimized"), load_external_data=False).graph


def float_sizes(graph):
    return {
        initializer.name: int(np.prod(initializer.dims))
        for initializer in graph.initializer
        if initializer.data_type == onnx.TensorProto.FLOAT and not initializer.name.startswith("rotary/")
    }


@pytest.mark.parametrize("file", KERNELS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_kernels_that_run_are_the_ones_we_mean(shape, file, graphs):
    model, folder = graphs(**shape)
    config = model.config
    graph = optimized(folder / file)
    kinds = collections.Counter(node.op_type for node in graph.node)
    # Four matrices a block and the output layer
    matrices = 4 * config.num_layers + 1
    assert {kind: kinds[kind] for kind in KERNELS.values() if kind != "MatMul"} == {
        kind: matrices if kind == KERNELS[file] else 0 for kind in KERNELS.values() if kind != "MatMul"
    }
    # Beside the int8 ones, `model.onnx` has a small product for what levels were shifted by
    assert kinds["MatMul"] == (matrices if file in {"model.onnx", "fp32.onnx"} else 0)
    assert kinds["GroupQueryAttention"] == config.num_layers
    assert kinds["Sum"] == 2 * config.num_layers
    unwanted = {"Gemm", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "DynamicQuantizeLinear"}
    unwanted |= {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}
    assert not unwanted & set(kinds)
    # Of rows of the embedding alone
    assert kinds["DequantizeLinear"] == (file != "fp32.onnx")


@pytest.mark.parametrize("file", ["model.onnx", "decode.onnx", "decode-x86.onnx"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_no_matrix_is_unfolded_to_fp32(shape, file, graphs):
    model, folder = graphs(**shape)
    graph = optimized(folder / file)
    smallest_matrix = min(parameter.numel() for parameter in model.parameters() if parameter.ndim == 2)
    assert max(float_sizes(graph).values()) < smallest_matrix
    offsets = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    assert all(name.endswith(".offset") for name in offsets)
    assert all(initializer.dims[0] <= 2 for initializer in graph.initializer if initializer.name in offsets)
    # The same measure finds the matrices of the fp32 graph
    assert max(float_sizes(optimized(folder / "fp32.onnx")).values()) >= smallest_matrix


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_tied_table_is_in_memory_once(arch, tied, graphs):
    model, folder = graphs(arch=arch, tie_embeddings=tied)
    sizes = sorted((model.config.vocab_size, model.config.d_model))
    for file in ("model.onnx", "decode.onnx"):
        tables = [each for each in optimized(folder / file).initializer if sorted(each.dims) == sizes]
        assert len(tables) == (1 if tied else 2)


FORMS = {
    "fp32": (FloatWeights, Form.FUSED),
    "int8": (Int8Weights, Form.FUSED),
    "one row": (OneRowWeights, Form.ONE_TOKEN),
    "blocks": (BlockWeights, Form.ONE_TOKEN),
}


@pytest.mark.parametrize(("weights", "form"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_graph_appends_to_its_cache_in_place(arch, weights, form, random_model):
    model = random_model(arch=arch)
    config = model.config
    graph = build_graph(model, weights(), form)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    # A mark in every cell: only the new positions may lose it
    arrays = {
        f"{layer}.{part}": np.full((1, config.kv_heads, config.context_length, config.head_dim), MARK, np.float32)
        for layer, part in itertools.product(range(config.num_layers), ("key", "value"))
    }
    binding = session.io_binding()
    for name, array in arrays.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        binding.bind_ortvalue_input(f"past_key_values.{name}", value)
        binding.bind_ortvalue_output(f"present.{name}", value)
    binding.bind_output("logits")
    written = 0
    for count in (5, 1, 1, 30, 1) if form is Form.FUSED else (1, 1, 1):
        before = {name: array.copy() for name, array in arrays.items()}
        binding.bind_cpu_input("input_ids", np.full((1, count), 9, np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, written + count), np.int64))
        if config.shifts_tokens:
            binding.bind_cpu_input("previous_ids", np.full((1, 1), 9, np.int64))
        session.run_with_iobinding(binding)
        for name, array in arrays.items():
            assert_appended(before[name], array, written, count)
        written += count


def assert_appended(before, after, written, count):
    assert (after[:, :, :written] == before[:, :, :written]).all()
    assert (after[:, :, written : written + count] != MARK).all()
    assert (after[:, :, written + count :] == MARK).all()


def addresses(binding):
    """Of what a run left in each output, the logits first."""
    return [value.data_ptr() for value in binding.get_outputs()]


@pytest.mark.parametrize("decode", [None, *DECODE_FILES.values()])
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_both_graphs_of_a_session_append_to_one_cache_in_place(arch, decode, graphs):
    model, folder = graphs(arch=arch)
    session = Session(folder / "model.onnx", model.config, 1, folder / decode if decode else None)
    assert (session.model.decode_graph is session.model.graph) == (decode is None)
    cache = [value.data_ptr() for value in session._cache]
    for value in session._cache:
        value.update_inplace(np.full(value.shape(), MARK, np.float32))
    for count in (5, 1, 3, 1, 1, 70):
        before, written = [value.numpy().copy() for value in session._cache], session.length
        logits = session.append([9] * count)
        for old, value in zip(before, session._cache, strict=True):
            assert_appended(old, value.numpy(), written, count)
        assert [value.data_ptr() for value in session._cache] == cache
        for binding in (session._prefill_binding, session._decode_binding):
            assert addresses(binding)[1:] == cache
            assert addresses(binding)[0] == session._logits.ctypes.data == logits.ctypes.data


def test_there_is_a_kernel_for_every_class_of_cpu():
    assert set(DECODE_FILES) == {ANY_CPU, X86}
    assert set(DECODE_FILES.values()) < set(KERNELS)
