"""Build the ONNX graph of the model with a KV cache, for onnxruntime's fused kernels or for any runtime.

Inputs and outputs are named as onnxruntime-genai and optimum name them:

- `input_ids` int64 [batch, length]: the new tokens.
- `previous_ids` int64 [batch, 1]: the token before the first of them, or that one itself where there is none; only of a
  model with a token shift.
- `attention_mask` int64 [batch, total]: ones, one for each token, new ones included.
- `past_key_values.N.key`, `.value` fp32 [batch, kv_heads, context_length, head_dim]: the cache of layer N.
- `logits` fp32 [batch, 1, vocab_size]: of the last new token.
- `present.N.key`, `.value`: as the inputs; bound to the same memory, they append to the cache in place.

The cache of the portable graph grows instead: [batch, kv_heads, past, head_dim] is its input, and [batch, kv_heads,
total, head_dim] its output.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from tinylm.config import ModelConfig
from tinylm.export.builder import MICROSOFT, GraphBuilder, as_array
from tinylm.export.operators import (
    FusedOperators,
    Operators,
    StandardOperators,
    cache_names,
    normalize,
    position_angles,
    split_projection,
)
from tinylm.export.weights import Weights
from tinylm.manifest import DATA_SUFFIX
from tinylm.training.model import Block, LanguageModel, sinusoid_parameters

IR_VERSION = 10
LARGEST_FILE = 2_000_000_000
"""Bytes of weights that one file holds: Protocol Buffers end at 2^31."""


class Form(Enum):
    """The purpose of a graph.

    Attributes:
        FUSED: for onnxruntime, with its own operators.
        ONE_TOKEN: the same, only for calls with one sequence and one new token.
        PORTABLE: for any runtime, with standard operators only.
    """

    FUSED = "fused"
    ONE_TOKEN = "one token"
    PORTABLE = "portable"


def write_graph(path: Path, model: LanguageModel, weights: Weights, form: Form = Form.FUSED) -> None:
    """Build the ONNX graph of a model and write it; with weights of 2 GB or more, these go to a file beside it.

    Args:
        path: the ONNX file.
        model: in fp32.
        weights: how matrices are stored.
        form: the purpose of the graph.
    """
    stored = weights.bytes_per_weight * sum(parameter.numel() for parameter in model.parameters())
    data = path.with_name(path.name + DATA_SUFFIX) if stored > LARGEST_FILE else None
    path.write_bytes(build_graph(model, weights, form, data).SerializeToString())
    if data is not None:
        # Shape inference knows standard operators only
        onnx.checker.check_model(path, full_check=form is Form.PORTABLE)


def build_graph(
    model: LanguageModel, weights: Weights, form: Form = Form.FUSED, data: Path | None = None
) -> onnx.ModelProto:
    """Build the ONNX graph of a model.

    Args:
        model: in fp32.
        weights: how matrices are stored.
        form: the purpose of the graph.
        data: a new file for the larger constants; None: the graph holds them.

    Returns:
        the graph, checked if it holds its constants; see the module's docstring for its inputs and outputs.
    """
    config = model.config
    graph = GraphBuilder(data)
    one_token = form is Form.ONE_TOKEN
    operators: Operators
    operators = StandardOperators(graph, config) if form is Form.PORTABLE else FusedOperators(graph, config, one_token)
    x = _embedding(graph, weights, model, one_token)
    if config.arch == "classic":
        x = graph.op("Add", [x, _sinusoids(graph, operators.positions(), config)], "embedding/positions")
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    normed = normalize(graph, x, "blocks.0.attention_norm", blocks[0].attention_norm)
    for number, block in enumerate(blocks):
        name = f"blocks.{number}"
        mixed = _attention(graph, operators, weights, normed, number, block, config)
        if number == config.num_layers - 1 and not one_token:
            # Logits need only the row of the last token
            mixed, x = (_last_row(graph, value) for value in (mixed, x))
        attended = weights.linear(graph, mixed, f"{name}.attention.output", block.attention.output)
        x, normed = _add_and_norm(graph, x, attended, f"{name}.feedforward_norm", block.feedforward_norm)
        fed = _feedforward(graph, operators, weights, normed, name, block)
        next_name, next_norm = "norm", model.norm
        if number + 1 < config.num_layers:
            next_name, next_norm = f"blocks.{number + 1}.attention_norm", blocks[number + 1].attention_norm
        x, normed = _add_and_norm(graph, x, fed, next_name, next_norm)
    logits = weights.linear(graph, normed, "output", model.output)
    graph.op("Identity", [logits], "logits")
    return _finish(graph, operators, model, *([1, 1] if one_token else ["batch", "length"]))


def shifts(model: LanguageModel) -> bool:
    """Whether the graph of a model has the input `previous_ids`."""
    return model.shift is not None and bool(model.shift.share.any())


def _embedding(graph: GraphBuilder, weights: Weights, model: LanguageModel, one_token: bool) -> str:
    """The embeddings of the new tokens, shifted where the model does that: [batch, length, d_model]."""
    if model.shift is None or not shifts(model):
        return weights.embed(graph, "input_ids", model)
    ids = graph.op("Concat", ["previous_ids", "input_ids"], "embedding/ids", axis=1)
    rows, share = weights.embed(graph, ids, model), as_array(model.shift.share)
    if one_token:  # fewer nodes, which take most of the time
        shares = graph.constant("shift/shares", np.stack((share, np.ones_like(share))))
        parts = graph.op("Mul", [rows, shares], "shift/parts")
        return graph.op("ReduceSum", [parts, graph.integer(1)], "shifted", keepdims=1)
    first, last, end, axis = (graph.integer(number) for number in (0, -1, 2**63 - 1, 1))
    before = graph.op("Slice", [rows, first, last, axis], "shift/before")
    new = graph.op("Slice", [rows, axis, end, axis], "shift/new")
    added = graph.op("Mul", [before, graph.constant("shift/share", share)], "shift/added")
    return graph.op("Add", [new, added], "shifted")


def _sinusoids(graph: GraphBuilder, positions: str, config: ModelConfig) -> str:
    """Encodings of these positions, computed: [positions…, d_model]."""
    frequency, phase = sinusoid_parameters(config.d_model)
    angles = position_angles(graph, positions, frequency)
    angles = graph.op("Add", [angles, graph.constant("positions/phase", as_array(phase))], "positions/shifted")
    return graph.op("Sin", [angles], "positions/sinusoids")


def _attention(
    graph: GraphBuilder,
    operators: Operators,
    weights: Weights,
    x: str,
    number: int,
    block: Block,
    config: ModelConfig,
) -> str:
    attention, name = block.attention, f"blocks.{number}.attention"
    packed = weights.linear(graph, x, f"{name}.qkv", attention.qkv)
    parts: list[str] = []
    if attention.query_norm is not None and attention.key_norm is not None:
        query, key, value = split_projection(graph, packed, name, config)
        query = _norm_heads(graph, query, f"{name}.query_norm", attention.query_norm, config.nhead)
        key = _norm_heads(graph, key, f"{name}.key_norm", attention.key_norm, config.kv_heads)
        parts = [query, key, value]
    return operators.attention(f"{name}/mixed", packed, parts, number)


def _feedforward(graph: GraphBuilder, operators: Operators, weights: Weights, x: str, name: str, block: Block) -> str:
    hidden = weights.linear(graph, x, f"{name}.feedforward.up", block.feedforward.up)
    if block.feedforward.arch == "classic":
        hidden = operators.gelu(hidden, f"{name}.feedforward/gelu")
    elif block.feedforward.arch == "llama":
        halves = [f"{name}.feedforward/gate", f"{name}.feedforward/values"]
        gate, values = graph.ops("Split", [hidden], halves, axis=-1, num_outputs=2)
        sigmoid = graph.op("Sigmoid", [gate], f"{name}.feedforward/sigmoid")
        gate = graph.op("Mul", [gate, sigmoid], f"{name}.feedforward/silu")
        hidden = graph.op("Mul", [gate, values], f"{name}.feedforward/gated")
    else:
        positive = graph.op("Relu", [hidden], f"{name}.feedforward/relu")
        hidden = graph.op("Mul", [positive, positive], f"{name}.feedforward/squared")
    return weights.linear(graph, hidden, f"{name}.feedforward.down", block.feedforward.down)


def _add_and_norm(graph: GraphBuilder, x: str, update: str, name: str, norm: torch.nn.Module) -> tuple[str, str]:
    """Add an update to the residual stream; return the sum and the normalized sum."""
    # Sum, as onnxruntime fuses an Add with the norm into an operator that takes twice their time
    x = graph.op("Sum", [x, update], f"{name}/residual")
    return x, normalize(graph, x, name, norm)


def _norm_heads(graph: GraphBuilder, x: str, name: str, norm: torch.nn.Module, heads: int) -> str:
    width = norm.get_parameter("weight").shape[0]
    split = graph.reshape(x, [0, 0, heads, width], f"{name}/heads")
    return graph.reshape(normalize(graph, split, f"{name}/normed", norm), [0, 0, -1], name)


def _last_row(graph: GraphBuilder, value: str) -> str:
    limits = [graph.integer(number) for number in (-1, 2**63 - 1, 1)]
    return graph.op("Slice", [value, *limits], f"{value}/last")


def _finish(
    graph: GraphBuilder, operators: Operators, model: LanguageModel, batch: str | int, length: str | int
) -> onnx.ModelProto:
    config = model.config
    inputs: list[tuple[str, int, list[Any]]] = [
        ("input_ids", TensorProto.INT64, [batch, length]),
        ("attention_mask", TensorProto.INT64, [batch, "total"]),
    ]
    if shifts(model):
        inputs.append(("previous_ids", TensorProto.INT64, [batch, 1]))
    outputs: list[tuple[str, int, list[Any]]] = [("logits", TensorProto.FLOAT, [batch, 1, config.vocab_size])]
    for number in range(config.num_layers):
        past, present = cache_names(number)
        inputs += [(name, TensorProto.FLOAT, operators.past_shape) for name in past]
        outputs += [(name, TensorProto.FLOAT, operators.present_shape) for name in present]
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "tinylm",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            list(graph.constants.values()),
        ),
        producer_name="tinylm",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid(*domain) for domain in operators.domains.items()],
    )
    if all(tensor.data_location == TensorProto.DEFAULT for tensor in proto.graph.initializer):
        # Shape inference knows standard operators only
        onnx.checker.check_model(proto, full_check=MICROSOFT not in operators.domains)
    return proto
