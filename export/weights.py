"""Storage and multiplication of matrices in a graph: fp32, 4 bits, or int8 for different calls and CPUs.

All int8 classes use the same levels and scales, so that the graphs of a bundle share one copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from tinylm.export.builder import MICROSOFT, GraphBuilder, as_array
from tinylm.export.quantization import BLOCK_SIZE, Int8Matrix, quantize_blocks, quantize_columns
from tinylm.training.model import LanguageModel

_LARGEST_BLOCK = 256
_MOST_PADDING = 0.04


class Weights(Protocol):
    """Adds matrices and their products to a graph.

    Attributes:
        bytes_per_weight: of what is stored, at most.
    """

    bytes_per_weight: int

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """Add the scaled token embedding of ids [batch, length]: [batch, length, d_model]."""
        ...

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """Add a linear layer: the product of x with its matrix, plus its bias if it has one."""
        ...


class FloatWeights:
    """fp32 matrices."""

    bytes_per_weight = 4

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """See `Weights`."""
        table = as_array(model.embedding.weight)
        if model.config.tie_embeddings:
            columns = graph.op("Gather", [graph.constant("output.weight", table.T), ids], "embedding/columns", axis=1)
            rows = graph.op("Transpose", [columns], "embedding/rows", perm=[1, 2, 0])
        else:
            rows = graph.op("Gather", [graph.constant("embedding.weight", table), ids], "embedding/rows")
        if model.embedding_scale == 1:
            return rows
        return graph.op("Mul", [rows, graph.constant("embedding/unit", model.embedding_scale)], "embedding")

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        product = graph.op("MatMul", [x, graph.constant(f"{name}.weight", as_array(layer.weight).T)], f"{name}/product")
        return _add_bias(graph, product, name, layer)


class Int8Weights:
    """int8 matrices. Each row of activations is quantized with its own scale, independently of other rows.

    Args:
        portable: use standard operators only.
        matrices: matrices that are quantized already, by layer.
    """

    bytes_per_weight = 1

    def __init__(self, portable: bool = False, matrices: Mapping[str, Int8Matrix] | None = None) -> None:
        self.portable = portable
        self.matrices = dict(matrices or {})

    def embed(self, graph: GraphBuilder, ids: str, model: LanguageModel) -> str:
        """See `Weights`."""
        unit = graph.constant("embedding/unit", model.embedding_scale)
        if model.config.tie_embeddings:
            # With tied embeddings, the matrix of the output layer is the embedding table
            table, scale = self._store(graph, "output", as_array(model.output.weight).T)
            columns = graph.op("Gather", [table, ids], "embedding/columns", axis=1)
            floats = graph.op("DequantizeLinear", [columns, unit], "embedding/floats")
            floats = graph.op("Mul", [floats, graph.op("Gather", [scale, ids], "embedding/scales")], "embedding/scaled")
            return graph.op("Transpose", [floats], "embedding", perm=[1, 2, 0])
        matrix = quantize_columns(as_array(model.embedding.weight).T)
        table = graph.constant("embedding.weight", matrix.levels.T)
        scale = graph.constant("embedding.weight/scale", matrix.scales[:, None])
        rows = graph.op("Gather", [table, ids], "embedding/rows")
        floats = graph.op("DequantizeLinear", [rows, unit], "embedding/floats")
        return graph.op("Mul", [floats, graph.op("Gather", [scale, ids], "embedding/scales")], "embedding")

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        table, scale = self._store(graph, name, as_array(layer.weight).T)
        levels, step, shift = self._quantize_rows(graph, x, name)
        middle = graph.constant("middle", np.uint8(128))
        if self.portable:
            sums = graph.op("MatMulInteger", [levels, table, middle], f"{name}/sums")
            floats = graph.op("Cast", [sums], f"{name}/floats", to=TensorProto.FLOAT)
            units = graph.op("Mul", [floats, scale], f"{name}/units")
        else:
            inputs = [levels, table, graph.constant("one", 1.0), scale, middle, self._zero(graph)]
            units = graph.op("MatMulIntegerToFloat", inputs, f"{name}/units", MICROSOFT)
        product = graph.op("Mul", [units, step], f"{name}/scaled")
        # One small product adds the shift of the levels times the sum of each column, and the bias
        shift, rows = graph.op("Mul", [shift, step], f"{name}/shift"), [self._sums(name)]
        bias = _bias_of(layer)
        if bias is not None:
            room = graph.constant("room_for_one", np.array([0, 0, 0, 0, 0, 1]))
            shift = graph.op("Pad", [shift, room, graph.constant("one", 1.0)], f"{name}/shift_and_one")
            rows.append(bias)
        offset = graph.op("MatMul", [shift, graph.constant(f"{name}.offset", np.stack(rows))], f"{name}/offset")
        return graph.op("Add", [product, offset], f"{name}/product")

    def _quantize_rows(self, graph: GraphBuilder, x: str, name: str) -> tuple[str, str, str]:
        """Quantize each row of activations as DynamicQuantizeLinear quantizes a tensor of one row.

        Returns:
            levels: uint8, of the shape of x.
            step: between two levels, fp32 [batch, length, 1].
            shift: 128 - the level of zero, of the shape of step.
        """
        last = graph.integer(-1)
        highest = graph.op("ReduceMax", [x, last], f"{name}/max")
        # A row of zeros needs a step that is not zero
        highest = graph.op("Max", [highest, graph.constant("activations/least", 1e-30)], f"{name}/highest")
        lowest = graph.op("ReduceMin", [x, last], f"{name}/min")
        lowest = graph.op("Min", [lowest, graph.constant("zero", 0.0)], f"{name}/lowest")
        span = graph.op("Sub", [highest, lowest], f"{name}/span")
        step = graph.op("Div", [span, graph.constant("activations/levels", 255.0)], f"{name}/step")
        first = graph.op("Round", [graph.op("Div", [lowest, step], f"{name}/lowest/steps")], f"{name}/first")
        steps = graph.op("Sub", [graph.op("Div", [x, step], f"{name}/steps"), first], f"{name}/steps/shifted")
        levels = self._round(graph, steps, f"{name}/levels")
        return levels, step, graph.op("Add", [first, graph.constant("middle/float", 128.0)], f"{name}/middle")

    def _round(self, graph: GraphBuilder, steps: str, name: str) -> str:
        """Round to the nearest level, 0 to 255: uint8."""
        if not self.portable:
            # onnxruntime 1.23 has no kernel for the standard operator of this opset
            ends = [graph.constant("one", 1.0), graph.constant("zero_unsigned", np.uint8(0))]
            return graph.op("QuantizeLinear", [steps, *ends], name, MICROSOFT)
        ends = [graph.constant("zero", 0.0), graph.constant("activations/levels", 255.0)]
        bounded = graph.op("Clip", [graph.op("Round", [steps], f"{name}/rounded"), *ends], f"{name}/bounded")
        return graph.op("Cast", [bounded], name, to=TensorProto.UINT8)

    def _sums(self, name: str) -> NDArray[np.float32]:
        """Sum of each column of a stored matrix, [outputs]."""
        matrix = self.matrices[name]
        sums: NDArray[np.float64] = matrix.levels.sum(axis=0, dtype=np.int64) * matrix.scales.astype(np.float64)
        return sums.astype(np.float32)

    def _store(self, graph: GraphBuilder, name: str, matrix: NDArray[np.float32]) -> tuple[str, str]:
        """Add the levels of a matrix [inputs, outputs], int8, and its scales, fp32 [outputs]."""
        if name not in self.matrices:
            self.matrices[name] = quantize_columns(matrix)
        quantized = self.matrices[name]
        return (
            graph.constant(f"{name}.weight", quantized.levels),
            graph.constant(f"{name}.weight/scale", quantized.scales),
        )

    def _zero(self, graph: GraphBuilder) -> str:
        return graph.constant("zero_level", np.int8(0))


class Int4Weights(Int8Weights):
    """4-bit matrices with a scale for each block of 32 inputs; the embedding and a tied output layer stay int8.

    They need half the bytes of int8 and cost quality. They are slow on CPUs without dot-product instructions (Pi 4).
    """

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        if f"{name}.weight" in graph.constants:
            return super().linear(graph, x, name, layer)
        levels, scales = quantize_blocks(as_array(layer.weight))
        stored = graph.constant(f"{name}.weight", levels), graph.constant(f"{name}.weight/scale", scales)
        return _multiply_blocks(graph, x, stored, name, layer, bits=4, block_size=BLOCK_SIZE)


class OneRowWeights(Int8Weights):
    """int8 matrices for calls with one token, with onnxruntime's fused operator: its one scale is that of the row."""

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        table, scale = self._store(graph, name, as_array(layer.weight).T)
        inputs = [x, table, scale, self._zero(graph), *_bias(graph, name, layer)]
        return graph.op("DynamicQuantizeMatMul", inputs, f"{name}/product", MICROSOFT)


class BlockWeights(Int8Weights):
    """int8 matrices for calls with one token on x86, with an operator that reads large matrices from memory faster.

    onnxruntime computes its layout from the stored matrix when it loads the graph. Activations have a scale for each
    block of a row.
    """

    def linear(self, graph: GraphBuilder, x: str, name: str, layer: torch.nn.Linear) -> str:
        """See `Weights`."""
        table, scale = self._store(graph, name, as_array(layer.weight).T)
        outputs, inputs = layer.weight.shape
        size = block_size(inputs)
        blocks = -(-inputs // size)
        middle = graph.constant("middle", np.uint8(128))
        # Inverting the highest bit of an int8 level adds 128 to it as uint8
        levels = graph.op(
            "Cast", [graph.op("Transpose", [table], f"{name}/rows")], f"{name}/bits", to=TensorProto.UINT8
        )
        levels = graph.op("BitwiseXor", [levels, middle], f"{name}/levels")
        if blocks * size > inputs:
            room = graph.constant(f"padding/{blocks * size - inputs}", np.array([0, 0, 0, blocks * size - inputs]))
            levels = graph.op("Pad", [levels, room, middle], f"{name}/levels/full")
        levels = graph.reshape(levels, [outputs, blocks, size], f"{name}/blocks")
        column = graph.reshape(scale, [-1, 1], f"{name}/scale/column")
        shape = graph.constant(f"shape/{outputs}x{blocks}/expanded", np.array([outputs, blocks]))
        scales = graph.op("Expand", [column, shape], f"{name}/scale/blocks")
        stored = levels, graph.reshape(scales, [-1], f"{name}/scales")
        return _multiply_blocks(graph, x, stored, name, layer, bits=8, block_size=size)


def block_size(inputs: int) -> int:
    """The largest block size, up to 256, with which a row of `inputs` is padded by at most 4 percent."""
    size = _LARGEST_BLOCK
    while size > 16 and -inputs % size > _MOST_PADDING * inputs:
        size //= 2
    return size


def _multiply_blocks(
    graph: GraphBuilder,
    x: str,
    stored: tuple[str, str],
    name: str,
    layer: torch.nn.Linear,
    *,
    bits: int,
    block_size: int,
) -> str:
    """Add the product of x with a matrix stored as levels and scales of blocks, plus the layer's bias if it has one."""
    return graph.op(
        "MatMulNBits",
        [x, *stored, "", "", *_bias(graph, name, layer)],
        f"{name}/product",
        MICROSOFT,
        K=layer.in_features,
        N=layer.out_features,
        bits=bits,
        block_size=block_size,
        accuracy_level=4,
    )


def _bias_of(layer: torch.nn.Linear) -> NDArray[np.float32] | None:
    bias: torch.Tensor | None = layer.bias  # torch annotates it as never None
    return None if bias is None else as_array(bias)


def _bias(graph: GraphBuilder, name: str, layer: torch.nn.Linear) -> list[str]:
    bias = _bias_of(layer)
    return [] if bias is None else [graph.constant(f"{name}.bias", bias)]


def _add_bias(graph: GraphBuilder, product: str, name: str, layer: torch.nn.Linear) -> str:
    bias = _bias(graph, name, layer)
    return graph.op("Add", [product, *bias], f"{name}/sum") if bias else product
