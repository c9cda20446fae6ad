"""Operations of the graph that differ between onnxruntime's fused operators and standard operators.

What both have in common is in `tinylm.export.graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from onnx import TensorProto

from tinylm.config import ModelConfig
from tinylm.export.builder import MICROSOFT, OPSET, GraphBuilder, as_array
from tinylm.training.model import rotary_frequencies

Shape = list[str | int]


class Operators(Protocol):
    """Adds the model's operations to a graph.

    Attributes:
        domains: versions of the operator sets, by domain.
        past_shape: of the cache as an input.
        present_shape: of the cache as an output.
    """

    domains: dict[str, int]
    past_shape: Shape
    present_shape: Shape

    def positions(self) -> str:
        """Add the positions of the new tokens, int64 [length] or [batch, length]."""
        ...

    def attention(self, name: str, packed: str, parts: Sequence[str], number: int) -> str:
        """Add causal attention of the new tokens to all tokens, with rotary positions; it reads and writes the cache.

        Args:
            name: of the result.
            packed: concatenated queries, keys and values, [batch, length, (nhead + 2 kv_heads) * head_dim].
            parts: normalized queries, keys and values, if the model normalizes them; else empty.
            number: of the layer.

        Returns:
            [batch, length, nhead * head_dim].
        """
        ...

    def gelu(self, x: str, name: str) -> str:
        """Add the exact GELU."""
        ...


class FusedOperators:
    """onnxruntime's operators. The cache has the size of the context, and attention appends to it in place.

    Args:
        graph: to write to.
        config: of the model.
        one_token: whether every call has one sequence and one new token.
    """

    def __init__(self, graph: GraphBuilder, config: ModelConfig, one_token: bool = False) -> None:
        self.domains = {"": OPSET, MICROSOFT: 1}
        self._graph, self._config, self._one_token = graph, config, one_token
        self.past_shape: Shape = ["batch", config.kv_heads, config.context_length, config.head_dim]
        self.present_shape = self.past_shape
        self._total = _last_dimension(graph, "attention_mask", "total")
        self._last = graph.op("Sub", [self._counts(), graph.integer(1)], "last_index")
        self._lengths = [
            graph.op("Cast", [self._last], "seqlens_k", to=TensorProto.INT32),
            graph.op("Cast", [self._total], "total_sequence_length", to=TensorProto.INT32),
        ]
        self._rotation = self._make_rotation() if config.arch != "classic" else []

    def positions(self) -> str:
        """See `Operators`."""
        graph = self._graph
        if self._one_token:
            return self._last
        length = _last_dimension(graph, "input_ids", "length")
        first = graph.op("Sub", [self._total, length], "positions/first")
        return graph.op("Add", [first, _range(graph, length, "positions/offsets")], "positions")

    def attention(self, name: str, packed: str, parts: Sequence[str], number: int) -> str:
        """See `Operators`."""
        past, present = cache_names(number)
        return self._graph.ops(
            "GroupQueryAttention",
            [*(parts or [packed, "", ""]), *past, *self._lengths, *self._rotation],
            [name, *present],
            MICROSOFT,
            num_heads=self._config.nhead,
            kv_num_heads=self._config.kv_heads,
            do_rotary=int(bool(self._rotation)),
            rotary_interleaved=0,
        )[0]

    def gelu(self, x: str, name: str) -> str:
        """See `Operators`."""
        return self._graph.op("Gelu", [x], name, MICROSOFT)

    def _counts(self) -> str:
        """Number of tokens of each sequence, int64 [batch]."""
        if self._one_token:
            return self._total
        return self._graph.op("ReduceSum", ["attention_mask", self._graph.integer(1)], "counts", keepdims=0)

    def _make_rotation(self) -> list[str]:
        """Cosines and sines of all positions of the context; onnxruntime computes them when it loads the graph."""
        count = self._graph.integer(self._config.context_length)
        return _rotation(self._graph, _range(self._graph, count, "rotary/positions"), self._config)


class StandardOperators:
    """Standard ONNX operators. The cache grows with each call; a zero in `attention_mask` masks a token (left padding).

    Attention consists of matrix products, because runtimes and their versions implement the `Attention` operator
    differently: how `is_causal` is aligned with a past, and which query heads belong to a key head.
    """

    def __init__(self, graph: GraphBuilder, config: ModelConfig) -> None:
        self.domains = {"": OPSET}
        self._graph, self._config = graph, config
        self.past_shape: Shape = ["batch", config.kv_heads, "past", config.head_dim]
        self.present_shape: Shape = ["batch", config.kv_heads, "total", config.head_dim]
        self._total = _last_dimension(graph, "attention_mask", "total")
        self._past = graph.op("Sub", [self._total, _last_dimension(graph, "input_ids", "length")], "past_length")
        self._group = config.nhead // config.kv_heads
        self._bias = self._make_bias()
        self._rotation = _rotation(graph, self.positions(), config) if config.arch != "classic" else []

    def positions(self) -> str:
        """See `Operators`."""
        graph, one = self._graph, self._graph.integer(1)
        counts = graph.op("CumSum", ["attention_mask", graph.constant("one_scalar", np.int64(1))], "positions/counts")
        new = graph.op("Slice", [counts, self._past, self._total, one], "positions/counts/new")
        return graph.op("Sub", [new, one], "positions")

    def attention(self, name: str, packed: str, parts: Sequence[str], number: int) -> str:
        """See `Operators`."""
        graph, config = self._graph, self._config
        query, key, value = parts or split_projection(graph, packed, name, config)
        if self._rotation:
            query = self._rotate(query, f"{name}/query/rotated", config.nhead)
            key = self._rotate(key, f"{name}/key/rotated", config.kv_heads)
        (past_key, past_value), (present_key, present_value) = cache_names(number)
        self._append(key, past_key, present_key)
        self._append(value, past_value, present_value)
        scale = graph.constant("attention/scale", config.head_dim**-0.5)
        query = graph.op("Mul", [self._group_heads(query, f"{name}/query"), scale], f"{name}/query/scaled")
        key = graph.op("Transpose", [present_key], f"{name}/key/transposed", perm=[0, 1, 3, 2])
        scores = graph.op("MatMul", [query, key], f"{name}/scores")
        scores = graph.op("Add", [scores, self._bias], f"{name}/scores/masked")
        weights = graph.op("Softmax", [scores], f"{name}/weights", axis=-1)
        return self._ungroup_heads(graph.op("MatMul", [weights, present_value], f"{name}/groups"), name)

    def gelu(self, x: str, name: str) -> str:
        """See `Operators`."""
        return self._graph.op("Gelu", [x], name)

    def _make_bias(self) -> str:
        """Bias of attention scores: 0, or the lowest fp32 number for masked tokens; [batch, 1, group * length, total].

        The lowest number is finite, so that a row without any visible token gives no NaN.
        """
        graph = self._graph
        keys = _range(graph, self._total, "attention/keys")
        queries = graph.op("Slice", [keys, self._past, self._total], "attention/queries")
        queries = graph.op("Unsqueeze", [queries, graph.integer(-1)], "attention/queries/column")
        causal = graph.op("LessOrEqual", [keys, queries], "attention/causal")
        axes = graph.constant("axes", np.array([1, 2], np.int64))
        mask = graph.op("Unsqueeze", ["attention_mask", axes], "attention/mask")
        seen = graph.op("Cast", [mask], "attention/mask/bool", to=TensorProto.BOOL)
        allowed = graph.op("And", [causal, seen], "attention/allowed")
        values = [graph.constant("zero", 0.0), graph.constant("attention/least", np.finfo(np.float32).min)]
        bias = graph.op("Where", [allowed, *values], "attention/bias")
        return bias if self._group == 1 else graph.op("Concat", [bias] * self._group, "attention/bias/groups", axis=2)

    def _rotate(self, x: str, name: str, heads: int) -> str:
        return self._graph.op("RotaryEmbedding", [x, *self._rotation], name, num_heads=heads)

    def _append(self, x: str, past: str, present: str) -> None:
        graph, config = self._graph, self._config
        heads = graph.reshape(x, [0, 0, config.kv_heads, config.head_dim], f"{present}/new/heads")
        new = graph.op("Transpose", [heads], f"{present}/new", perm=[0, 2, 1, 3])
        graph.op("Concat", [past, new], present, axis=2)

    def _group_heads(self, query: str, name: str) -> str:
        """Stack the query heads of each key head: [batch, kv_heads, group * length, head_dim]."""
        graph, config = self._graph, self._config
        heads = graph.reshape(query, [0, 0, config.kv_heads, self._group, config.head_dim], f"{name}/heads")
        heads = graph.op("Transpose", [heads], f"{name}/heads/transposed", perm=[0, 2, 3, 1, 4])
        return graph.reshape(heads, [0, 0, -1, config.head_dim], f"{name}/groups")

    def _ungroup_heads(self, groups: str, name: str) -> str:
        graph = self._graph
        heads = graph.reshape(groups, [0, 0, self._group, -1, self._config.head_dim], f"{name}/heads")
        heads = graph.op("Transpose", [heads], f"{name}/heads/transposed", perm=[0, 3, 1, 2, 4])
        return graph.reshape(heads, [0, 0, -1], name)


def cache_names(number: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names of a layer's keys and values in the cache: of the inputs, and of the outputs."""
    past, present = f"past_key_values.{number}", f"present.{number}"
    return (f"{past}.key", f"{past}.value"), (f"{present}.key", f"{present}.value")


def split_projection(graph: GraphBuilder, packed: str, name: str, config: ModelConfig) -> Sequence[str]:
    """Split the packed projection into queries, keys and values."""
    sizes = np.array([config.nhead, config.kv_heads, config.kv_heads], np.int64) * config.head_dim
    outputs = [f"{name}.{part}/projected" for part in ("query", "key", "value")]
    return graph.ops("Split", [packed, graph.constant("qkv_sizes", sizes)], outputs, axis=-1)


def normalize(graph: GraphBuilder, x: str, name: str, norm: torch.nn.Module) -> str:
    """Add LayerNorm or RMSNorm over the last axis."""
    kind = "LayerNormalization" if isinstance(norm, torch.nn.LayerNorm) else "RMSNormalization"
    return graph.op(kind, [x, *_norm_parameters(graph, name, norm)], name, axis=-1, epsilon=norm.eps)


def _norm_parameters(graph: GraphBuilder, name: str, norm: torch.nn.Module) -> list[str]:
    parameters = [graph.constant(f"{name}.weight", as_array(norm.get_parameter("weight")))]
    if isinstance(norm, torch.nn.LayerNorm):
        parameters.append(graph.constant(f"{name}.bias", as_array(norm.bias)))
    return parameters


def _last_dimension(graph: GraphBuilder, value: str, name: str) -> str:
    """Size of the second axis of a [batch, size] input, int64 [1]."""
    return graph.op("Shape", [value], name, start=1, end=2)


def _range(graph: GraphBuilder, count: str, name: str) -> str:
    """The integers 0, 1, … below a count int64 [1]."""
    zero, one = graph.constant("zero_scalar", np.int64(0)), graph.constant("one_scalar", np.int64(1))
    return graph.op("Range", [zero, graph.op("Squeeze", [count], f"{name}/count"), one], name)


def _rotation(graph: GraphBuilder, positions: str, config: ModelConfig) -> list[str]:
    """Cosines and sines, each [positions…, head_dim / 2]."""
    angles = position_angles(graph, positions, rotary_frequencies(config))
    return [graph.op("Cos", [angles], "rotary/cosines"), graph.op("Sin", [angles], "rotary/sines")]


def position_angles(graph: GraphBuilder, positions: str, frequency: torch.Tensor) -> str:
    """Multiply positions by frequencies: [positions…, frequencies]."""
    floats = graph.op("Cast", [positions], "positions/floats", to=TensorProto.FLOAT)
    column = graph.op("Unsqueeze", [floats, graph.integer(-1)], "positions/column")
    return graph.op("Mul", [column, graph.constant("positions/frequency", as_array(frequency))], "positions/angles")
