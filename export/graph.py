"""The ONNX graph of the model, with an in-place KV cache: written by hand, for onnxruntime's fused kernels.

Inputs and outputs are named as onnxruntime-genai and optimum name them:

- `input_ids` int64 [batch, length]: the new tokens.
- `attention_mask` int64 [batch, total]: ones, as many as there are tokens with the new ones.
- `past_key_values.N.key`, `.value` fp32 [batch, kv_heads, context_length, head_dim]: the cache of layer N.
- `logits` fp32 [batch, 1, vocab_size]: of the last new token.
- `present.N.key`, `.value`: as the inputs; bound to the same memory, the cache is appended in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tinylm.model import NORM_EPSILON, Block, LanguageModel, position_frequencies, sinusoid_parameters

OPSET = 23
MICROSOFT = "com.microsoft"
IR_VERSION = 10


class GraphBuilder:
    """Collects nodes and constants; every method returns names of values."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, called `name`."""
        return self.ops(kind, inputs, [name], domain, **attributes)[0]

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        """Add a node with several outputs; an empty name leaves one out."""
        name = next(output for output in outputs if output)
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs

    def constant(self, name: str, value: NDArray[Any] | np.generic | float) -> str:
        """Add a constant once; a Python float becomes fp32."""
        array = np.asarray(value, np.float32 if type(value) is float else None)
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name


class Weights(Protocol):
    """How matrices are stored and multiplied."""

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """Rows of the token embedding, times its scale, of ids [batch, length]: [batch, length, d_model]."""
        ...

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """X times the layer's matrix, plus its bias if it has one."""
        ...


class FloatWeights:
    """fp32 matrices."""

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """See `Weights`."""
        # [d_model, vocab_size] as the output layer wants it: where the two are tied, one table serves both
        table = graph.constant(embedding_name(model), as_array(model.embedding.weight).T)
        columns = graph.op("Gather", [table, ids], "embedding/columns", axis=1)
        rows = graph.op("Transpose", [columns], "embedding/rows", perm=[1, 2, 0])
        return graph.op("Mul", [rows, graph.constant("embedding/scale", model.embedding_scale)], "embedding")

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        product = graph.op("MatMul", [x, graph.constant(f"{name}.weight", as_array(layer.weight).T)], f"{name}/product")
        bias = bias_of(layer)
        if bias is None:
            return product
        return graph.op("Add", [product, graph.constant(f"{name}.bias", bias)], f"{name}/sum")


class Int8Weights:
    """Unsigned 8-bit matrices with one scale a column, multiplied by activations quantized on the fly.

    Unsigned, because the kernels of x86 without VNNI saturate on signed weights; on a grid symmetric about 128.
    """

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """See `Weights`."""
        table, scale = self._store(graph, embedding_name(model), as_array(model.embedding.weight).T)
        columns = graph.op("Gather", [table, ids], "embedding/columns", axis=1)
        rows = graph.op("Transpose", [columns], "embedding/rows", perm=[1, 2, 0])
        unit = graph.constant("embedding/scale", model.embedding_scale)
        floats = graph.op("DequantizeLinear", [rows, unit, self._zero_point(graph)], "embedding/floats")
        scales = graph.op("Gather", [scale, ids], "embedding/scales", axis=0)
        scales = graph.op("Unsqueeze", [scales, graph.constant("minus_one", np.array([-1]))], "embedding/row_scales")
        return graph.op("Mul", [floats, scales], "embedding")

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        table, scale = self._store(graph, f"{name}.weight", as_array(layer.weight).T)
        inputs = [x, table, scale, self._zero_point(graph)]
        bias = bias_of(layer)
        if bias is not None:
            inputs.append(graph.constant(f"{name}.bias", bias))
        return graph.op("DynamicQuantizeMatMul", inputs, f"{name}/product", MICROSOFT)

    def _store(self, graph: GraphBuilder, name: str, matrix: NDArray[np.float32]) -> tuple[str, str]:
        levels, scales = quantize_columns(matrix)
        return graph.constant(name, levels), graph.constant(f"{name}/scale", scales)

    def _zero_point(self, graph: GraphBuilder) -> str:
        return graph.constant("zero_point", np.uint8(128))


def quantize_columns(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round each column of a matrix to 8 bits: value = (level - 128) * scale.

    Returns:
        levels uint8, of the matrix's shape, between 1 and 255.
        scales fp32 [columns].
    """
    highest = np.abs(matrix).max(axis=0)
    scales = np.where(highest > 0, highest / 127, 1).astype(np.float32)
    levels = np.clip(np.rint(matrix / scales), -127, 127) + 128
    return levels.astype(np.uint8), scales


def build_graph(model: LanguageModel, weights: Weights) -> onnx.ModelProto:
    """The model as ONNX.

    Args:
        model: its parameters are read, in fp32.
        weights: how matrices are stored.

    Returns:
        a checked model; see the module's docstring for its inputs and outputs.
    """
    config = model.config
    graph = GraphBuilder()
    total = _last_dimension(graph, "attention_mask", "total")
    length = _last_dimension(graph, "input_ids", "length")
    lengths = _lengths_for_attention(graph, total)
    x = weights.embed(graph, "input_ids", model)
    rotation: list[str] = []
    if config.arch == "classic":
        x = graph.op("Add", [x, _sinusoids(graph, model, total, length)], "embedding/positions")
    else:
        rotation = _rotations(graph, model)
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    normed = _norm(graph, x, "blocks.0.attention_norm", blocks[0].attention_norm)
    for number, block in enumerate(blocks):
        name = f"blocks.{number}"
        mixed = _attention(graph, weights, normed, number, block, model, lengths, rotation)
        if number == config.num_layers - 1:
            # From here on only the last token's row is wanted
            mixed, x = (_last_row(graph, value) for value in (mixed, x))
        attended = weights.linear(graph, mixed, f"{name}.attention.output", block.attention.output)
        x, normed = _add_and_norm(graph, x, attended, f"{name}.feedforward_norm", block.feedforward_norm)
        fed = _feedforward(graph, weights, normed, name, block)
        next_name, next_norm = "norm", model.norm
        if number + 1 < config.num_layers:
            next_name, next_norm = f"blocks.{number + 1}.attention_norm", blocks[number + 1].attention_norm
        x, normed = _add_and_norm(graph, x, fed, next_name, next_norm)
    logits = weights.linear(graph, normed, "output", model.output)
    graph.op("Identity", [logits], "logits")
    return _finish(graph, model)


def embedding_name(model: LanguageModel) -> str:
    """The constant that holds the token embedding: where tied, that of the output layer."""
    return "output.weight" if model.config.tie_embeddings else "embedding.weight"


def as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A parameter as fp32."""
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array


def bias_of(layer: torch.nn.Linear) -> NDArray[np.float32] | None:
    """The layer's bias as fp32, if it has one."""
    bias: torch.Tensor | None = layer.bias  # torch's own annotation forgets that there may be none
    return None if bias is None else as_array(bias)


def _last_dimension(graph: GraphBuilder, value: str, name: str) -> str:
    """Size of the second axis of a [batch, size] input, int64 [1]."""
    return graph.op("Shape", [value], name, start=1, end=2)


def _lengths_for_attention(graph: GraphBuilder, total: str) -> tuple[str, str]:
    """What GroupQueryAttention wants: the index of each sequence's last token int32 [batch], the total int32 [1]."""
    counts = graph.op("ReduceSum", ["attention_mask", graph.constant("one", np.array([1]))], "counts", keepdims=0)
    last = graph.op("Sub", [counts, graph.constant("one", np.array([1]))], "last_index")
    return (
        graph.op("Cast", [last], "seqlens_k", to=TensorProto.INT32),
        graph.op("Cast", [total], "total_sequence_length", to=TensorProto.INT32),
    )


def _sinusoids(graph: GraphBuilder, model: LanguageModel, total: str, length: str) -> str:
    """Position encodings of the new tokens, computed: [length, d_model]."""
    frequency, phase = sinusoid_parameters(model.config.d_model)
    zero, one = graph.constant("zero_scalar", np.int64(0)), graph.constant("one_scalar", np.int64(1))
    first = graph.op("Sub", [total, length], "positions/first")
    offsets = graph.op("Range", [zero, graph.op("Squeeze", [length], "length_scalar"), one], "positions/offsets")
    positions = graph.op("Add", [first, offsets], "positions")
    floats = graph.op("Cast", [positions], "positions/floats", to=TensorProto.FLOAT)
    column = graph.op("Unsqueeze", [floats, graph.constant("minus_one", np.array([-1]))], "positions/column")
    angles = graph.op("Mul", [column, graph.constant("positions/frequency", as_array(frequency))], "positions/scaled")
    angles = graph.op("Add", [angles, graph.constant("positions/phase", as_array(phase))], "positions/angles")
    return graph.op("Sin", [angles], "positions/sinusoids")


def _rotations(graph: GraphBuilder, model: LanguageModel) -> list[str]:
    """Cosines and sines of every position; a sum of constants, which onnxruntime folds when it loads the graph."""
    config = model.config
    steps = [np.int64(0), np.int64(config.context_length), np.int64(1)]
    limits = [graph.constant(f"rotary/{name}", v) for name, v in zip(("start", "limit", "step"), steps, strict=True)]
    positions = graph.op("Range", limits, "rotary/positions")
    floats = graph.op("Cast", [positions], "rotary/floats", to=TensorProto.FLOAT)
    column = graph.op("Unsqueeze", [floats, graph.constant("minus_one", np.array([-1]))], "rotary/column")
    frequency = graph.constant("rotary/frequency", as_array(position_frequencies(config.head_dim)))
    angles = graph.op("Mul", [column, frequency], "rotary/angles")
    return [graph.op("Cos", [angles], "rotary/cosines"), graph.op("Sin", [angles], "rotary/sines")]


def _attention(
    graph: GraphBuilder,
    weights: Weights,
    x: str,
    number: int,
    block: Block,
    model: LanguageModel,
    lengths: tuple[str, str],
    rotation: list[str],
) -> str:
    config, attention, name = model.config, block.attention, f"blocks.{number}.attention"
    packed = weights.linear(graph, x, f"{name}.qkv", attention.qkv)
    projected = [packed, "", ""]
    if attention.query_norm is not None and attention.key_norm is not None:
        sizes = np.array([config.nhead, config.kv_heads, config.kv_heads]) * config.head_dim
        outputs = [f"{name}.{part}/projected" for part in ("query", "key", "value")]
        query, key, value = graph.ops("Split", [packed, graph.constant("qkv_sizes", sizes)], outputs, axis=-1)
        query = _norm_heads(graph, query, f"{name}.query_norm", attention.query_norm, config.nhead)
        key = _norm_heads(graph, key, f"{name}.key_norm", attention.key_norm, config.kv_heads)
        projected = [query, key, value]
    past = [f"past_key_values.{number}.{part}" for part in ("key", "value")]
    present = [f"present.{number}.{part}" for part in ("key", "value")]
    return graph.ops(
        "GroupQueryAttention",
        [*projected, *past, *lengths, *rotation],
        [f"{name}/mixed", *present],
        MICROSOFT,
        num_heads=config.nhead,
        kv_num_heads=config.kv_heads,
        do_rotary=int(bool(rotation)),
        rotary_interleaved=0,
    )[0]


def _feedforward(graph: GraphBuilder, weights: Weights, x: str, name: str, block: Block) -> str:
    hidden = weights.linear(graph, x, f"{name}.feedforward.up", block.feedforward.up)
    if block.feedforward.classic:
        hidden = graph.op("Gelu", [hidden], f"{name}.feedforward/gelu", MICROSOFT)
    else:
        positive = graph.op("Relu", [hidden], f"{name}.feedforward/relu")
        hidden = graph.op("Mul", [positive, positive], f"{name}.feedforward/squared")
    return weights.linear(graph, hidden, f"{name}.feedforward.down", block.feedforward.down)


def _norm_parameters(graph: GraphBuilder, name: str, norm: torch.nn.Module) -> list[str]:
    parameters = [graph.constant(f"{name}.weight", as_array(norm.get_parameter("weight")))]
    if isinstance(norm, torch.nn.LayerNorm):
        parameters.append(graph.constant(f"{name}.bias", as_array(norm.bias)))
    return parameters


def _norm(graph: GraphBuilder, x: str, name: str, norm: torch.nn.Module) -> str:
    kind = "LayerNormalization" if isinstance(norm, torch.nn.LayerNorm) else "RMSNormalization"
    return graph.op(kind, [x, *_norm_parameters(graph, name, norm)], name, axis=-1, epsilon=NORM_EPSILON)


def _norm_heads(graph: GraphBuilder, x: str, name: str, norm: torch.nn.Module, heads: int) -> str:
    width = norm.get_parameter("weight").shape[0]
    shape = graph.constant(f"shape/{heads}_heads", np.array([0, 0, heads, width]))
    split = graph.op("Reshape", [x, shape], f"{name}/heads")
    normed = _norm(graph, split, f"{name}/normed", norm)
    return graph.op("Reshape", [normed, graph.constant("shape/packed", np.array([0, 0, -1]))], name)


def _add_and_norm(graph: GraphBuilder, x: str, update: str, name: str, norm: torch.nn.Module) -> tuple[str, str]:
    """The residual stream after an update, and it normalized."""
    layer_norm = isinstance(norm, torch.nn.LayerNorm)
    kind = "SkipLayerNormalization" if layer_norm else "SkipSimplifiedLayerNormalization"
    parameters = _norm_parameters(graph, name, norm)
    outputs = [name, "", "", f"{name}/residual"]
    graph.ops(kind, [x, update, *parameters], outputs, MICROSOFT, epsilon=NORM_EPSILON)
    return outputs[3], outputs[0]


def _last_row(graph: GraphBuilder, value: str) -> str:
    starts, ends = graph.constant("minus_one", np.array([-1])), graph.constant("int64_max", np.array([2**63 - 1]))
    return graph.op("Slice", [value, starts, ends, graph.constant("one", np.array([1]))], f"{value}/last")


def _finish(graph: GraphBuilder, model: LanguageModel) -> onnx.ModelProto:
    config = model.config
    cache = ["batch", config.kv_heads, config.context_length, config.head_dim]
    tensors = [
        ("input_ids", TensorProto.INT64, ["batch", "length"]),
        ("attention_mask", TensorProto.INT64, ["batch", "total"]),
    ]
    results: list[tuple[str, int, list[Any]]] = [("logits", TensorProto.FLOAT, ["batch", 1, config.vocab_size])]
    inputs: list[tuple[str, int, list[Any]]] = [*tensors]
    for number in range(config.num_layers):
        for part in ("key", "value"):
            inputs.append((f"past_key_values.{number}.{part}", TensorProto.FLOAT, cache))
            results.append((f"present.{number}.{part}", TensorProto.FLOAT, cache))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "tinylm",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in results],
            list(graph.constants.values()),
        ),
        producer_name="tinylm",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
    )
    onnx.checker.check_model(proto)
    return proto
