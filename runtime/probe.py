"""How fast this machine takes int8 weights through onnxruntime's own kernel, whatever models are at hand.

The graph is a chain of int8 matrices, written here byte by byte as ONNX's protocol buffers: a device has no onnx package.
Its weights are constants that onnxruntime makes and packs while loading.
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Sequence

import numpy as np
import onnxruntime

_FLOAT, _INT8, _INT64 = 1, 3, 7
_IR_VERSION, _OPSET = 10, 20
_WIDTH = 512
_LAYERS = {2_000_000: 4, 10_000_000: 6, 30_000_000: 8, 110_000_000: 12}
"""Sizes of models, in bytes of int8 weights, and the layers that they commonly have."""

_LARGEST_PROBE = 32_000_000
_REPEATS, _LEAST_REPEATS, _SECONDS = 15, 3, 0.3


def estimate_speeds(
    threads: int, tokens_per_second: float, weight_bytes: int, layers: int, largest: int = _LARGEST_PROBE
) -> dict[str, dict[str, float]]:
    """The decoding speed to expect of int8 models, at a short context.

    A token takes the time that its weights take to come through the kernel, and an overhead, which is what else the
    measured bundle took, by its layers.

    Args:
        threads: of onnxruntime.
        tokens_per_second: measured with a bundle.
        weight_bytes: of that bundle.
        layers: of that bundle.
        largest: bytes of weights to measure with, at most.

    Returns:
        by megabytes: `gigabytes_per_second` and `tokens_per_second`.
    """
    rates = {size: weights_per_second(min(size, largest), threads) for size in _LAYERS if size <= largest}
    nearest = min(rates, key=lambda size: abs(size - weight_bytes))
    overhead = max(0.0, 1 / tokens_per_second - weight_bytes / rates[nearest]) / layers
    estimates = {}
    for size, count in _LAYERS.items():
        rate = rates.get(size, rates[max(rates)])
        estimates[str(size // 1_000_000)] = {
            "gigabytes_per_second": round(rate / 1e9, 2),
            "tokens_per_second": round(1 / (size / rate + overhead * count), 1),
        }
    return estimates


def weights_per_second(size: int, threads: int) -> float:
    """Bytes of int8 weights a second that one token is multiplied with.

    Args:
        size: of the weights in bytes.
        threads: of onnxruntime.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    count = max(1, round(size / _WIDTH**2))
    session = onnxruntime.InferenceSession(probe_graph(_WIDTH, count), options, providers=["CPUExecutionProvider"])
    inputs = {"x0": np.ones((1, _WIDTH), np.float32)}
    session.run(None, inputs)
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < _LEAST_REPEATS or sum(times) < _SECONDS):
        started = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - started)
    return count * _WIDTH**2 / statistics.median(times)


def probe_graph(width: int, count: int) -> bytes:
    """An ONNX model: fp32 [1, width] times `count` int8 matrices of [width, width], one after the other.

    See https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the numbers of the fields.
    """
    nodes = []
    for number in range(count):
        # No two alike, or onnxruntime makes one of them
        value = _tensor("", [1], _INT8, bytes([1 + number % 120]))
        fill = _field(5, _field(1, "value") + _field(5, value) + _field(20, 4))
        nodes += [
            _node("ConstantOfShape", ["shape"], f"w{number}", "") + fill,
            _node("DynamicQuantizeMatMul", [f"x{number}", f"w{number}", "scale", "zero"], f"x{number + 1}", _CONTRIB),
        ]
    constants = [
        _tensor("shape", [2], _INT64, struct.pack("<2q", width, width)),
        _tensor("scale", [width], _FLOAT, struct.pack("<f", 0.01) * width),
        _tensor("zero", [], _INT8, b"\0"),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "probe")
    graph += b"".join(_field(5, tensor) for tensor in constants)
    graph += _field(11, _row("x0", width)) + _field(12, _row(f"x{count}", width))
    opsets = b"".join(
        _field(8, _field(1, domain) + _field(2, version)) for domain, version in (("", _OPSET), (_CONTRIB, 1))
    )
    return _field(1, _IR_VERSION) + _field(7, graph) + opsets


_CONTRIB = "com.microsoft"


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
