"""One dial: from the minutes, the machine's speed and the amount of data to size, vocabulary and batch of a model.

A larger model learns more from each token and sees fewer of them in the time. What is best is looked up in a law of the
form of Hoffmann et al. 2022 (arXiv:2203.15556), fitted to runs of one and three minutes (docs/experiments.md), with
repeated data worth less and less (Muennighoff et al. 2023, arXiv:2305.16264).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tinylm.config import Config, ModelConfig, config_values, make_config
from tinylm.run_folder import StageName
from tinylm.training.hardware import prepare_process
from tinylm.training.loss import LossComputer
from tinylm.training.mfu import attention_flops
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer

# Width, blocks and heads, by number of weights
_SHAPES = (
    (64, 2, 2),
    (96, 3, 2),
    (128, 3, 2),
    (128, 4, 2),
    (160, 4, 2),
    (192, 4, 3),
    (192, 5, 3),
    (256, 5, 4),
    (256, 6, 4),
    (320, 6, 5),
    (384, 6, 6),
    (384, 8, 6),
    (512, 8, 8),
    (640, 10, 10),
    (768, 12, 12),
    (1024, 16, 16),
)
# Bytes of text that a token stands for, as measured on simple English
_BYTES_PER_TOKEN = {512: 2.10, 1024: 2.68, 2048: 3.30, 4096: 3.83, 8192: 4.27}
_BYTES_A_PIECE = 400.0  # a piece that a small text hardly holds is not learned
_WEIGHTS_A_BYTE = 2.0  # in the blocks; more would learn a small text by heart
_SHAPE_KEYS = ("d_model", "nhead", "num_layers", "dim_feedforward")
_PROBE_SECONDS = 0.2
_PROBED, _PROBED_VOCABULARY = (0, 7), 4096
# Once the size is chosen: a tokenizer is trained, text tokenized, the first steps are timed, a report written
_OTHER_SECONDS = 3.5
_TOKENIZED_A_SECOND = 6e6  # bytes of text a thread
_PACKED_A_SECOND = 4e6  # bytes of conversations
_VALIDATION_SHARE = 0.04
_SAMPLE_MEGABYTES_A_MINUTE = 4.0
_BATCHES = (4, 8, 16, 32, 64)
_STEPS_WANTED = {8: 500, 16: 800, 32: 800, 64: 800}  # below 8 rows, the optimizer takes much of the time


@dataclass(frozen=True)
class Law:
    """Loss in bits per byte = floor + size of the blocks + amount of text + size of the vocabulary, each a power law.

    Bytes that repeat are worth less and less; in little text, pieces of a vocabulary over 4,096 are seen too seldom.
    """

    floor: float = 0.355
    blocks: tuple[float, float, float] = (0.200, 1e6, 0.330)
    text: tuple[float, float, float] = (0.320, 1e7, 0.493)
    vocabulary: tuple[float, float, float] = (0.461, 4096.0, 0.167)
    repeats: float = 15.0
    rare: float = 0.1

    def __call__(self, blocks: float, vocab_size: int, seen: float, unique: float) -> float:
        """Expected bits per byte.

        Args:
            blocks: weights of the blocks.
            vocab_size: pieces.
            seen: bytes of text that are trained on.
            unique: bytes of text that there are.
        """
        excess = max(0.0, seen / unique - 1)
        worth = min(seen, unique) + unique * self.repeats * (1 - math.exp(-excess / self.repeats))
        terms = ((blocks, self.blocks), (worth, self.text), (vocab_size, self.vocabulary))
        powers = sum(factor * math.pow(value / unit, -exponent) for value, (factor, unit, exponent) in terms)
        rare = self.rare * max(0.0, vocab_size**2 - self.vocabulary[1] ** 2) * (1e3 / worth) ** 2
        return self.floor + powers + rare


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        config: with the choices in it.
        chosen: section.key of every choice.
        lines: what was chosen and why, for people.
    """

    config: Config
    chosen: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Speed:
    """What training takes on a machine, in seconds.

    Attributes:
        blocks: pairs of weights in the blocks and seconds an operation of theirs, by size.
        output: seconds a token and piece of the output layer and the loss, and as much again a channel.
        update: pairs of all weights and the optimizer's seconds for each, by size.
    """

    blocks: tuple[tuple[float, float], ...]
    output: tuple[float, float]
    update: tuple[tuple[float, float], ...]

    def token_seconds(self, model: ModelConfig) -> float:
        """Of forward and backward pass, a token."""
        constant, by_width = self.output
        weights = _block_weights(model)
        operations = 6.0 * weights + attention_flops(model)
        output = model.vocab_size * (constant + by_width * model.d_model)
        return operations * _between(weights, self.blocks) + output

    def update_seconds(self, model: ModelConfig) -> float:
        """Of the optimizer, a step."""
        weights = _weights(model)
        return weights * _between(weights, self.update)


def measure_speed(config: Config) -> Speed:
    """Time training steps of two models; device, precision and threads of the configuration are resolved."""
    prepare_process()
    probes = [_Probe(_model_of(config.model, _SHAPES[index], _PROBED_VOCABULARY), config) for index in _PROBED]
    small, large = (probe.model_config for probe in probes)
    heads = [probe.output_seconds() for probe in probes]
    by_width = max(0.0, (heads[1] - heads[0]) / (large.d_model - small.d_model)) / _PROBED_VOCABULARY
    output = max(0.0, heads[0] / _PROBED_VOCABULARY - by_width * small.d_model), by_width
    blocks, update = [], []
    for probe, head in zip(probes, heads, strict=True):
        model = probe.model_config
        token_seconds, update_seconds = probe.step_seconds()
        weights = _block_weights(model)
        # A tenth is left for blocks where the output layer seems to take all
        in_blocks = max(0.1 * token_seconds, token_seconds - head)
        blocks.append((weights, in_blocks / (6.0 * weights + attention_flops(model))))
        update.append((_weights(model), update_seconds / _weights(model)))
    return Speed(tuple(blocks), output, tuple(update))


def choose(
    config: Config,
    given: Iterable[str],
    text_bytes: Mapping[StageName, float],
    speed: Speed | None = None,
    spent: float = 0.0,
    processes: int = 1,
) -> Choice:
    """Choose what was not given.

    Args:
        config: its minutes are the budget; device, precision and threads are resolved.
        given: section.key of what was set by hand, and stays.
        text_bytes: UTF-8 bytes of text to train on, of each stage.
        speed: of this process; measured where None.
        spent: seconds of the budget that are over.
        processes: that train together, each as fast.
    """
    given = set(given)
    started = time.perf_counter()
    speed = speed or measure_speed(config)
    spent += time.perf_counter() - started
    data_bytes = max(1.0, sum(text_bytes.values()))
    seconds = _seconds_to_train(config, text_bytes, spent)
    free_shape = not any(f"model.{key}" in given for key in _SHAPE_KEYS)
    vocabularies = [config.model.vocab_size] if "model.vocab_size" in given else _vocabularies(data_bytes)
    models = [
        _model_of(config.model, shape, vocabulary)
        for shape in (_shapes(data_bytes) if free_shape else (None,))
        for vocabulary in vocabularies
    ]
    batch_sizes = (config.train.batch_size,) if "train.batch_size" in given else _BATCHES
    law = Law()

    def steps(model: ModelConfig, batch_size: int) -> float:
        tokens = batch_size * config.train.accumulate * model.context_length
        return seconds / (tokens / processes * speed.token_seconds(model) + speed.update_seconds(model))

    def batch_size_of(model: ModelConfig) -> int:
        """The largest that still leaves the optimizer enough steps."""
        enough = [size for size in batch_sizes if steps(model, size) >= _STEPS_WANTED.get(size, 0)]
        return max(enough, default=batch_sizes[0])

    def tokens_in_time(model: ModelConfig) -> float:
        size = batch_size_of(model)
        return steps(model, size) * size * config.train.accumulate * model.context_length

    def expected(model: ModelConfig) -> float:
        seen = tokens_in_time(model) * _bytes_per_token(model.vocab_size)
        return law(_block_weights(model), model.vocab_size, seen, data_bytes)

    model = min(models, key=expected)
    values = config_values(config)
    changed: dict[str, Any] = {}
    if free_shape:
        keys = [key for key in (*_SHAPE_KEYS, "num_kv_heads") if getattr(model, key) != getattr(config.model, key)]
        changed.update({f"model.{key}": getattr(model, key) for key in keys})
    if "model.vocab_size" not in given:
        changed["model.vocab_size"] = model.vocab_size
    if "train.batch_size" not in given:
        changed["train.batch_size"] = batch_size_of(model)
    if "tokenizer.max_sample_megabytes" not in given:
        wanted = _SAMPLE_MEGABYTES_A_MINUTE * config.train.minutes
        changed["tokenizer.max_sample_megabytes"] = max(1.0, min(config.tokenizer.max_sample_megabytes, wanted))
    for name, value in changed.items():
        section, _, key = name.partition(".")
        values[section][key] = value
    chosen = make_config(values)
    return Choice(chosen, list(changed), _explain(chosen, free_shape, seconds, tokens_in_time(model), data_bytes))


def _seconds_to_train(config: Config, text_bytes: Mapping[StageName, float], spent: float) -> float:
    """What is left of the budget for training steps, at least a quarter of it."""
    budget = 60 * config.train.minutes
    tokenizing = sum(text_bytes.values()) / (_TOKENIZED_A_SECOND * max(1, config.train.threads))
    tokenizing += text_bytes.get("finetune", 0.0) / _PACKED_A_SECOND
    return max(budget / 4, (budget - spent - tokenizing - _OTHER_SECONDS) * (1 - _VALIDATION_SHARE))


def _model_of(model: ModelConfig, shape: tuple[int, int, int] | None, vocab_size: int) -> ModelConfig:
    values = config_values(Config(model=model))["model"]
    values["vocab_size"] = vocab_size
    if shape is not None:
        width, layers, heads = shape
        values.update(d_model=width, num_layers=layers, nhead=heads, dim_feedforward=4 * width)
        if heads % (model.num_kv_heads or 1):
            values["num_kv_heads"] = 0
    return make_config({"model": values}).model


def _shapes(data_bytes: float) -> list[tuple[int, int, int]]:
    fitting = [shape for shape in _SHAPES if 12 * shape[0] ** 2 * shape[1] <= _WEIGHTS_A_BYTE * data_bytes]
    return fitting or [_SHAPES[0]]


def _vocabularies(data_bytes: float) -> list[int]:
    return [size for size in sorted(_BYTES_PER_TOKEN) if size * _BYTES_A_PIECE <= data_bytes] or [min(_BYTES_PER_TOKEN)]


def _block_weights(model: ModelConfig) -> float:
    attention = 2 * model.d_model**2 + 2 * model.d_model * model.kv_heads * model.head_dim
    return float(model.num_layers * (attention + 2 * model.d_model * model.dim_feedforward))


def _weights(model: ModelConfig) -> float:
    """Weights that a token is multiplied with."""
    return _block_weights(model) + model.d_model * model.vocab_size


def _bytes_per_token(vocab_size: int) -> float:
    return _between(vocab_size, tuple(_BYTES_PER_TOKEN.items()))


def _between(size: float, points: tuple[tuple[float, float], ...]) -> float:
    """Between what was measured, by the logarithm of the size."""
    sizes, values = zip(*points, strict=True)
    return float(np.interp(math.log(size), np.log(sizes), values))


class _Probe:
    """A model, to be timed."""

    def __init__(self, model_config: ModelConfig, config: Config) -> None:
        values: dict[str, Any] = {**config_values(config), "model": config_values(Config(model=model_config))["model"]}
        values["train"]["compile"] = "off"
        settings = make_config(values).train
        self.model_config = model_config
        with torch.random.fork_rng(devices=[]):
            self._model = LanguageModel(model_config).to(settings.device)
        self._compute = LossComputer(self._model, settings, lambda _: None)
        self._optimizer = Optimizer(self._model, settings)
        rows = _BATCHES[1]
        self._tokens = rows * model_config.context_length
        ids = np.random.default_rng(0).integers(0, model_config.vocab_size, (rows, model_config.context_length + 1))
        self._inputs, self._targets = ids[:, :-1], ids[:, 1:]

    def output_seconds(self) -> float:
        """Of the output layer and the loss, a token."""
        targets = torch.from_numpy(self._targets.reshape(-1)).to(self._compute.device)
        states = torch.ones(len(targets), self.model_config.d_model, device=targets.device, requires_grad=True)

        def run() -> float:
            started = time.perf_counter()
            loss = self._compute.head_loss(states, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item()
            return time.perf_counter() - started

        (seconds,) = _typical(lambda: (run(),))
        self._model.zero_grad(set_to_none=True)
        return seconds / self._tokens

    def step_seconds(self) -> tuple[float, float]:
        """Of forward and backward pass, a token; and of the optimizer's step."""

        def run() -> tuple[float, float]:
            started = time.perf_counter()
            (loss,) = self._compute.backward([(self._inputs, self._targets)], self._tokens)
            loss.item()
            between = time.perf_counter()
            self._optimizer.step(0.0)
            if self._compute.device.type == "cuda":
                torch.cuda.synchronize()
            return between - started, time.perf_counter() - between

        passes, update = _typical(run)
        return passes / self._tokens, update


def _typical(run: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """The median of each of some seconds, after a first run that is not counted."""
    run()
    times: list[tuple[float, ...]] = []
    while len(times) < 3 or sum(map(sum, times)) < _PROBE_SECONDS:
        times.append(run())
    return tuple(float(value) for value in np.median(times, axis=0))


def _explain(config: Config, free_shape: bool, seconds: float, tokens: float, data_bytes: float) -> list[str]:
    model, train = config.model, config.train
    steps = tokens / (train.batch_size * train.accumulate * model.context_length)
    share = tokens * _bytes_per_token(model.vocab_size) / max(data_bytes, 1.0)
    seen = f"{share:.0%} of" if share < 1 else f"{share:,.1f} times"
    shape = f"{model.num_layers} layers, {model.d_model} wide, {model.nhead} heads, vocabulary {model.vocab_size:,}"
    rate = tokens * (6.0 * _weights(model) + attention_flops(model)) / seconds
    lines = [
        f"Chosen for {train.minutes:g} minutes at {rate / 1e9:,.0f} GFLOP/s and {data_bytes / 1e6:,.1f} MB of text:",
        f"  {shape}: some {_weights(model) / 1e6:.1f} million weights",
        f"  batches of {train.batch_size} x {model.context_length} tokens: some {steps:,.0f} steps, {seen} the text",
    ]
    if free_shape:
        lines.append("  A larger model would see too little text in that time, a smaller one would make less of it.")
        lines.append(f"  Or choose by hand, as in --set model.d_model={model.d_model} --set model.nhead={model.nhead}")
    return lines
