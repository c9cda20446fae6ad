"""How fast this machine takes int8 weights through onnxruntime's own kernel, whatever models are at hand.

The graph is a chain of int8 matrices in the form of a bundle's decoding graph, written here byte by byte as ONNX's
protocol buffers: a device has no onnx package. Its weights are constants that onnxruntime packs while loading.
"""

from __future__ import annotations

import math
import statistics
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.runtime.device.memory import BLOCKS_FROM
from tinylm.runtime.ort import onnxruntime

_FLOAT, _UINT8, _INT8, _INT64 = 1, 2, 3, 7
_IR_VERSION, _OPSET = 10, 20
_BLOCK = 256
_CONTRIB = "com.microsoft"
SIZES = (2_000_000, 10_000_000, 30_000_000)
"""Bytes of weights that are measured: in the caches of most machines, at their edge, and beyond."""

_REPEATS, _LEAST_REPEATS, _SECONDS = 15, 3, 0.15


@dataclass(frozen=True)
class Expectation:
    """What decoding speed to expect of int8 models of any size, at a short context.

    A token takes the time in which its weights come through the kernel, and an overhead for each layer.

    Attributes:
        rates: bytes a second, by the bytes of weights that were measured.
        layer_seconds: overhead of a layer.
    """

    rates: dict[int, float]
    layer_seconds: float

    def rate(self, weight_bytes: int) -> float:
        """Bytes a second of a model of this size: as measured with the nearest."""
        return self.rates[min(self.rates, key=lambda size: abs(math.log(size / weight_bytes)))]

    def tokens_per_second(self, weight_bytes: int, layers: int) -> float:
        """What to expect of a model with so many bytes of int8 weights a token."""
        return 1 / (weight_bytes / self.rate(weight_bytes) + self.layer_seconds * layers)


def expectation(
    threads: Sequence[int],
    tokens_per_second: float,
    weight_bytes: int,
    layers: int,
    *,
    has_avx2: bool,
    largest: int = SIZES[-1],
) -> Expectation:
    """Measure the kernel, and take what else a bundle's token took for overhead.

    Args:
        threads: numbers of threads, the best of which counts for each size.
        tokens_per_second: of a bundle.
        weight_bytes: of that bundle, as one token takes them.
        layers: of that bundle.
        has_avx2: whether this is an x86 with AVX2, for which larger bundles have a decoding graph of blocks.
        largest: bytes of weights to measure with, at most; they are in memory twice.
    """
    rates = {
        size: max(weights_per_second(size, count, has_avx2 and size > BLOCKS_FROM) for count in threads)
        for size in SIZES
        if size <= max(largest, SIZES[0])
    }
    kernel = Expectation(rates, 0.0)
    overhead = 1 / tokens_per_second - weight_bytes / kernel.rate(weight_bytes)
    return Expectation(rates, max(0.0, overhead) / layers)


def weights_per_second(size: int, threads: int, blocks: bool = False) -> float:
    """Bytes of int8 weights a second that one token is multiplied with.

    Args:
        size: of the weights in bytes.
        threads: of onnxruntime.
        blocks: see `probe_graph`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Some 30 matrices, as models have
    width = _BLOCK * max(1, round(math.sqrt(size / 30) / _BLOCK))
    count = max(1, round(size / width**2))
    graph = probe_graph(width, count, blocks)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {"x0": np.ones((1, width), np.float32)}
    session.run(None, inputs)
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < _LEAST_REPEATS or sum(times) < _SECONDS):
        started = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - started)
    return count * width**2 / statistics.median(times)


def probe_graph(width: int, count: int, blocks: bool = False) -> bytes:
    """An ONNX model: fp32 [1, width] times `count` int8 matrices of [width, width], one after the other.

    See https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the numbers of the fields.

    Args:
        width: of the matrices, a multiple of the blocks' 256.
        count: of the matrices.
        blocks: in `MatMulNBits` rather than in `DynamicQuantizeMatMul`, as in bundles' graphs for x86.
    """
    columns = width // _BLOCK
    shape, kind, scales = ([width, columns, _BLOCK], _UINT8, width * columns) if blocks else ([width] * 2, _INT8, width)
    sizes = {"K": width, "N": width, "bits": 8, "block_size": _BLOCK, "accuracy_level": 4}
    product = b"".join(_attribute(name, 3, size, 2) for name, size in sizes.items()) if blocks else b""
    nodes = []
    for number in range(count):
        # No two alike, or onnxruntime makes one of them
        value = _tensor("", [1], kind, bytes([1 + number % 120]))
        inputs = [f"x{number}", f"w{number}", "scale", *([] if blocks else ["zero"])]
        nodes += [
            _node("ConstantOfShape", ["shape"], f"w{number}", "") + _attribute("value", 5, value, 4),
            _node("MatMulNBits" if blocks else "DynamicQuantizeMatMul", inputs, f"x{number + 1}", _CONTRIB) + product,
        ]
    constants = [
        _tensor("shape", [len(shape)], _INT64, struct.pack(f"<{len(shape)}q", *shape)),
        _tensor("scale", [scales], _FLOAT, struct.pack("<f", 0.01) * scales),
        *([] if blocks else [_tensor("zero", [], _INT8, b"\0")]),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "probe")
    graph += b"".join(_field(5, tensor) for tensor in constants)
    graph += _field(11, _row("x0", width)) + _field(12, _row(f"x{count}", width))
    opsets = b"".join(
        _field(8, _field(1, domain) + _field(2, version)) for domain, version in (("", _OPSET), (_CONTRIB, 1))
    )
    return _field(1, _IR_VERSION) + _field(7, graph) + opsets


def _attribute(name: str, slot: int, value: int | bytes, kind: int) -> bytes:
    return _field(5, _field(1, name) + _field(slot, value) + _field(20, kind))


def _node(operator: str, inputs: Sequence[str], output: str, domain: str) -> bytes:
    names = b"".join(_field(1, name) for name in inputs)
    return names + _field(2, output) + _field(4, operator) + _field(7, domain)


def _tensor(name: str, shape: Sequence[int], kind: int, data: bytes) -> bytes:
    return b"".join(_field(1, size) for size in shape) + _field(2, kind) + _field(8, name) + _field(9, data)


def _row(name: str, width: int) -> bytes:
    shape = b"".join(_field(1, _field(1, size)) for size in (1, width))
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, shape)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer: a number, or a text, bytes or message with its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
