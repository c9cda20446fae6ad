"""Speed of onnxruntime's int8 kernels on this machine, to estimate the decoding speed of other models."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinylm.runtime.device.memory import BLOCKS_FROM
from tinylm.runtime.ort import onnxruntime

BLOCK = 256
"""Weights that share a scale in the form for x86."""

_REPEATS, _LEAST_REPEATS, _SECONDS = 15, 3, 0.15


@dataclass(frozen=True)
class Probe:
    """An ONNX file with a chain of int8 matrices; `tinylm.export.kernel_probes` writes it.

    Attributes:
        size: about the bytes of its weights.
        width: rows and columns of each matrix, a multiple of `BLOCK`.
        matrices: number of matrices, some 30 as in models.
        blocks: whether they are in the form that larger bundles have for x86.
    """

    size: int
    width: int
    matrices: int
    blocks: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        name = f"{self.size // 1_000_000}mb{'-blocks' if self.blocks else ''}.onnx"
        return Path(__file__).with_name("kernel_probes") / name

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weights."""
        return self.matrices * self.width**2


PROBES = (
    Probe(2_000_000, 256, 31),
    Probe(10_000_000, 512, 38),
    Probe(30_000_000, 1024, 29),
    Probe(30_000_000, 1024, 29, blocks=True),
)
"""Weights that fit into the caches of most machines, that nearly fit, and that do not."""

SIZES = tuple(sorted({probe.size for probe in PROBES}))


def probes_for(has_avx2: bool, largest: int) -> list[Probe]:
    """The probes up to a size, in the form that bundles of their size have for the CPU."""
    return [
        probe for probe in PROBES if probe.size <= largest and probe.blocks == (has_avx2 and probe.size > BLOCKS_FROM)
    ]


@dataclass(frozen=True)
class SpeedModel:
    """Decoding speed to expect of int8 models of any size, at a short context.

    A token takes the time to read its weights, and an overhead for each layer.

    Attributes:
        rates: bytes of weights a second, by the size of the probe.
        layer_seconds: overhead of a layer.
    """

    rates: dict[int, float]
    layer_seconds: float

    def rate(self, weight_bytes: int) -> float:
        """Bytes a second for a model of this size: those of the probe that is nearest in size."""
        return self.rates[min(self.rates, key=lambda size: abs(math.log(size / weight_bytes)))]

    def tokens_per_second(self, weight_bytes: int, layers: int) -> float:
        """Decoding speed of a model with this many layers and bytes of int8 weights a token."""
        return 1 / (weight_bytes / self.rate(weight_bytes) + self.layer_seconds * layers)


def measure_speed_model(
    threads: Sequence[int],
    tokens_per_second: float,
    weight_bytes: int,
    layers: int,
    *,
    has_avx2: bool,
    largest: int = SIZES[-1],
) -> SpeedModel:
    """Measure the kernels; the rest of the time that a bundle takes for a token is the overhead.

    Args:
        threads: numbers of threads; the best of them counts for each size.
        tokens_per_second: measured decoding speed of a bundle.
        weight_bytes: bytes of that bundle's weights that a token needs.
        layers: of that bundle.
        has_avx2: whether the CPU is an x86 with AVX2, for which larger bundles have weights in blocks.
        largest: size of the largest probe; its weights are in memory twice.
    """
    rates = {
        probe.size: max(weights_per_second(probe, count) for count in threads)
        for probe in probes_for(has_avx2, largest)
    }
    kernels = SpeedModel(rates, 0.0)
    overhead = 1 / tokens_per_second - weight_bytes / kernels.rate(weight_bytes)
    return SpeedModel(rates, max(0.0, overhead) / layers)


def weights_per_second(probe: Probe, threads: int) -> float:
    """Bytes of int8 weights that onnxruntime multiplies with in a second, for a batch of one token."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(probe.path), options, providers=["CPUExecutionProvider"])
    inputs = {"x0": np.ones((1, probe.width), np.float32)}
    session.run(None, inputs)
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < _LEAST_REPEATS or sum(times) < _SECONDS):
        started = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - started)
    return probe.weight_bytes / statistics.median(times)
