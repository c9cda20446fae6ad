"""Estimate how fast this machine trains models of any size, from timed steps of two models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tinylm.config import Config, ModelConfig, config_values, make_config
from tinylm.data.dataset.batches import Batch
from tinylm.training.hardware import prepare_process
from tinylm.training.loss import LossComputer
from tinylm.training.mfu import attention_flops
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer

Shape = tuple[int, int, int]
"""Width, blocks and heads."""

_PROBED: tuple[Shape, Shape] = ((64, 2, 2), (256, 5, 4))
_PROBED_VOCABULARY, _PROBED_ROWS = 4096, 8
_PROBED_TOKENS = 8192  # in all rows, at most; one row is the least
# Seconds that each part is timed for: on an idle machine, and under load by other programs
_QUIET_SECONDS, _BUSY_SECONDS = 0.2, 0.6
_LEAST_RUNS, _LONGEST_SECONDS = 5, 1.0
_BUSY_SHARE = 0.85  # of the wall clock; below it, the machine counts as busy
_ONE_CORE = 0.8
_SHARE_SIZE, _SHARE_SECONDS = 768, 0.1


@dataclass(frozen=True)
class Speed:
    """The measured speed of training.

    Attributes:
        blocks: pairs of a number of weights in the blocks and the seconds of one of their operations, by size.
        output: seconds of output layer and loss, for each token and piece: a constant, and a term for each channel.
        update: pairs of a number of weights and the optimizer's seconds for one of them, by size.
        busy: whether other programs used the processor during the measurement.
    """

    blocks: tuple[tuple[float, float], ...]
    output: tuple[float, float]
    update: tuple[tuple[float, float], ...]
    busy: bool = False

    def token_seconds(self, model: ModelConfig) -> float:
        """Seconds of the forward and backward pass of a token."""
        constant, by_width = self.output
        weights = block_weights(model)
        operations = 6.0 * weights + attention_flops(model)
        output = model.vocab_size * (constant + by_width * model.d_model)
        return operations * interpolate(weights, self.blocks) + output

    def update_seconds(self, model: ModelConfig) -> float:
        """Seconds of the optimizer's update in a step."""
        weights = matrix_weights(model)
        return weights * interpolate(weights, self.update)


def measure_speed(config: Config) -> Speed:
    """Time training steps of two models.

    The fastest of several runs counts. Under load by other programs, more runs are made, also with a single thread,
    which may be faster than several that wait for each other.

    Args:
        config: a configuration with resolved device, precision and threads.
    """
    prepare_process()
    threads = config.train.threads or torch.get_num_threads()
    share = processor_share() if config.train.device == "cpu" else 1.0
    if share >= _BUSY_SHARE:
        return _measure(config, _QUIET_SECONDS)
    # Little of a short budget
    seconds = min(_BUSY_SECONDS, _QUIET_SECONDS + config.train.minutes / 10)
    found: list[Speed] = []
    try:
        # Threads that together get less than a core are never faster than one
        for count in dict.fromkeys((threads, 1) if share * threads > _ONE_CORE else (1,)):
            torch.set_num_threads(count)
            found.append(_measure(config, seconds))
    finally:
        torch.set_num_threads(threads)
    large = shaped(config.model, _PROBED[1], _PROBED_VOCABULARY)
    best = min(found, key=lambda each: each.token_seconds(large))
    return Speed(best.blocks, best.output, best.update, busy=True)


def processor_share() -> float:
    """Measure the part of its cores' time that this process gets; about 1 on an idle machine."""
    matrix = torch.ones(_SHARE_SIZE, _SHARE_SIZE)
    torch.mm(matrix, matrix)
    wall, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < _SHARE_SECONDS:
        torch.mm(matrix, matrix)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return processor / wall / torch.get_num_threads()


def shaped(model: ModelConfig, shape: Shape | None, vocab_size: int) -> ModelConfig:
    """Change the shape, unless it is None, and the vocabulary of a model."""
    values = config_values(Config(model=model))["model"]
    values["vocab_size"] = vocab_size
    if shape is not None:
        width, layers, heads = shape
        values.update(d_model=width, num_layers=layers, nhead=heads, dim_feedforward=feedforward_width(model, width))
        if heads % (model.num_kv_heads or 1):
            values["num_kv_heads"] = 0
    return make_config({"model": values}).model


def feedforward_width(model: ModelConfig, width: int) -> int:
    """Width inside the feed-forward with which its matrices have eight times the weights of a square one."""
    return 4 * width if model.feedforward_matrices == 2 else round(width / 6) * 16


def block_weights(model: ModelConfig) -> float:
    """Count the weights of the matrices in the blocks."""
    return float(model.block_weights)


def matrix_weights(model: ModelConfig) -> float:
    """Count the weights that a token is multiplied with."""
    return block_weights(model) + model.d_model * model.vocab_size


def interpolate(size: float, points: tuple[tuple[float, float], ...]) -> float:
    """Interpolate measurements, linearly in the logarithm of the size."""
    sizes, values = zip(*points, strict=True)
    return float(np.interp(math.log(size), np.log(sizes), values))


def _measure(config: Config, seconds: float) -> Speed:
    probes = [_Probe(shaped(config.model, shape, _PROBED_VOCABULARY), config, seconds) for shape in _PROBED]
    small, large = (probe.model_config for probe in probes)
    heads = [probe.output_seconds() for probe in probes]
    by_width = max(0.0, (heads[1] - heads[0]) / (large.d_model - small.d_model)) / _PROBED_VOCABULARY
    output = max(0.0, heads[0] / _PROBED_VOCABULARY - by_width * small.d_model), by_width
    blocks, update = [], []
    for probe, head in zip(probes, heads, strict=True):
        model = probe.model_config
        token_seconds, update_seconds = probe.step_seconds()
        weights = block_weights(model)
        # At least a tenth counts for the blocks, in case the output layer seems to take all
        in_blocks = max(0.1 * token_seconds, token_seconds - head)
        blocks.append((weights, in_blocks / (6.0 * weights + attention_flops(model))))
        update.append((matrix_weights(model), update_seconds / matrix_weights(model)))
    return Speed(tuple(blocks), output, tuple(update))


class _Probe:
    """A model whose parts are timed."""

    def __init__(self, model_config: ModelConfig, config: Config, seconds: float) -> None:
        values: dict[str, Any] = {**config_values(config), "model": config_values(Config(model=model_config))["model"]}
        values["train"]["compile"] = "off"
        settings = make_config(values).train
        self.model_config, self._seconds = model_config, seconds
        with torch.random.fork_rng(devices=[]):
            self._model = LanguageModel(model_config).to(settings.device)
        self._compute = LossComputer(self._model, settings, lambda _: None)
        self._optimizer = Optimizer(self._model, settings)
        length = model_config.context_length
        rows = max(1, min(_PROBED_ROWS, _PROBED_TOKENS // length))
        self._tokens = rows * length
        ids = np.random.default_rng(0).integers(0, model_config.vocab_size, (rows, length + 1))
        self._inputs, self._targets = ids[:, :-1], ids[:, 1:]

    def output_seconds(self) -> float:
        """Time output layer and loss, in seconds a token."""
        targets = torch.from_numpy(self._targets.reshape(-1)).to(self._compute.device)
        states = torch.ones(len(targets), self.model_config.d_model, device=targets.device, requires_grad=True)

        def run() -> float:
            started = time.perf_counter()
            loss = self._compute.head_loss(states, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item()
            return time.perf_counter() - started

        (seconds,) = self._fastest(lambda: (run(),))
        self._model.zero_grad(set_to_none=True)
        return seconds / self._tokens

    def step_seconds(self) -> tuple[float, float]:
        """Time forward and backward pass, in seconds a token, and the optimizer, in seconds a step."""

        def run() -> tuple[float, float]:
            started = time.perf_counter()
            (loss,) = self._compute.backward([Batch(self._inputs, self._targets)], self._tokens)
            loss.item()
            between = time.perf_counter()
            self._optimizer.step(0.0)
            if self._compute.device.type == "cuda":
                torch.cuda.synchronize()
            return between - started, time.perf_counter() - between

        passes, update = self._fastest(run)
        return passes / self._tokens, update

    def _fastest(self, run: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
        """Take the fastest time of each part over several runs; the first run counts only if it is the only one."""
        started = time.perf_counter()
        times: list[tuple[float, ...]] = []
        while len(times) <= _LEAST_RUNS or time.perf_counter() - started < self._seconds:
            times.append(run())
            if time.perf_counter() - started > _LONGEST_SECONDS:
                break
        return tuple(float(value) for value in np.min(times[1:] or times, axis=0))
