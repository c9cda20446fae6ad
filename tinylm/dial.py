"""One dial: from the minutes, the machine's speed and the amount of data to size, vocabulary and batch of a model.

A larger model learns more from each token and sees fewer of them in the time. What is best is looked up in a law of the
form of Hoffmann et al. 2022 (arXiv:2203.15556), fitted to runs of one and three minutes (docs/experiments.md), with
repeated data worth less and less (Muennighoff et al. 2023, arXiv:2305.16264).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tinylm.compute import LossComputer
from tinylm.config import Config, ModelConfig, config_values, make_config
from tinylm.hardware import keep_freed_memory
from tinylm.model import LanguageModel
from tinylm.optimizer import Optimizer
from tinylm.utilization import attention_flops

# Width, blocks and heads, by number of weights
_SHAPES = (
    (64, 2, 1),
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
_PROBE_SECONDS = 0.6
_PROBED, _PROBED_VOCABULARY = (0, 7), 4096
_FIXED_SECONDS, _FIXED_SHARE = 6.0, 0.08
_SAMPLE_MEGABYTES_A_MINUTE = 4.0
_BATCHES = (4, 8, 16, 32, 64)
_STEPS_WANTED = 1200


@dataclass(frozen=True)
class Law:
    """Loss in bits per byte = floor + size of the blocks + amount of text + size of the vocabulary, each a power law.

    Bytes that repeat are worth less and less.
    """

    floor: float = 0.50
    blocks: tuple[float, float, float] = (0.132, 1e6, 0.347)
    text: tuple[float, float, float] = (0.291, 1e7, 0.475)
    vocabulary: tuple[float, float, float] = (0.465, 4096.0, 0.191)
    repeats: float = 15.0

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
        return self.floor + sum(factor * math.pow(value / unit, -exponent) for value, (factor, unit, exponent) in terms)


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


class Speed:
    """Training operations a second of this machine for models of any size.

    Args:
        config: device, precision and threads resolved.
    """

    def __init__(self, config: Config) -> None:
        keep_freed_memory()
        models = [_model_of(config.model, _SHAPES[index], _PROBED_VOCABULARY) for index in _PROBED]
        self._points = sorted(_probe(model, config) for model in models)

    def __call__(self, weights: float) -> float:
        """Operations a second with so many weights: between what was measured, by their logarithm."""
        sizes, rates = zip(*self._points, strict=True)
        return float(np.interp(math.log(weights), [math.log(size) for size in sizes], rates))


def choose(
    config: Config, given: Iterable[str], data_bytes: float, speed: Speed | None = None, processes: int = 1
) -> Choice:
    """Choose what was not given.

    Args:
        config: its minutes are the budget; device, precision and threads are resolved.
        given: section.key of what was set by hand, and stays.
        data_bytes: UTF-8 bytes of text to train on, both stages.
        speed: of this process; measured where None.
        processes: that train together, each as fast.
    """
    given = set(given)
    free_shape = not any(f"model.{key}" in given for key in _SHAPE_KEYS)
    vocabularies = [config.model.vocab_size] if "model.vocab_size" in given else _vocabularies(data_bytes)
    models = [
        _model_of(config.model, shape, vocabulary)
        for shape in (_shapes(data_bytes) if free_shape else (None,))
        for vocabulary in vocabularies
    ]
    speed = speed or Speed(config)
    seconds = max(config.train.minutes * 60 * (1 - _FIXED_SHARE) - _FIXED_SECONDS, config.train.minutes * 30)
    law = Law()

    def tokens_in_time(model: ModelConfig) -> float:
        weights = _weights(model)
        return seconds * processes * speed(weights) / (6.0 * weights + attention_flops(model))

    def expected(model: ModelConfig) -> float:
        seen = tokens_in_time(model) * _bytes_per_token(model.vocab_size)
        return law(_block_weights(model), model.vocab_size, seen, max(data_bytes, 1.0))

    model = min(models, key=expected)
    tokens = tokens_in_time(model)
    values = config_values(config)
    changed: dict[str, Any] = {}
    if free_shape:
        keys = [key for key in (*_SHAPE_KEYS, "num_kv_heads") if getattr(model, key) != getattr(config.model, key)]
        changed.update({f"model.{key}": getattr(model, key) for key in keys})
    if "model.vocab_size" not in given:
        changed["model.vocab_size"] = model.vocab_size
    if "train.batch_size" not in given:
        changed["train.batch_size"] = _batch_size(tokens / config.train.accumulate, model.context_length)
    if "tokenizer.max_sample_megabytes" not in given:
        wanted = _SAMPLE_MEGABYTES_A_MINUTE * config.train.minutes
        changed["tokenizer.max_sample_megabytes"] = max(1.0, min(config.tokenizer.max_sample_megabytes, wanted))
    for name, value in changed.items():
        section, _, key = name.partition(".")
        values[section][key] = value
    chosen = make_config(values)
    lines = _explain(chosen, free_shape, tokens, data_bytes, processes * speed(_weights(model)))
    return Choice(chosen, list(changed), lines)


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
    sizes = sorted(_BYTES_PER_TOKEN)
    logarithms = [math.log(size) for size in sizes]
    return float(np.interp(math.log(vocab_size), logarithms, [_BYTES_PER_TOKEN[size] for size in sizes]))


def _batch_size(tokens: float, context_length: int) -> int:
    """The largest that still leaves the optimizer enough steps."""
    return max((size for size in _BATCHES if tokens / (size * context_length) >= _STEPS_WANTED), default=_BATCHES[0])


def _probe(model_config: ModelConfig, config: Config) -> tuple[float, float]:
    """Weights of a model, and operations a second of its training steps."""
    values: dict[str, Any] = {**config_values(config), "model": config_values(Config(model=model_config))["model"]}
    values["train"]["compile"] = "off"
    settings = make_config(values).train
    with torch.random.fork_rng(devices=[]):
        model = LanguageModel(model_config).to(settings.device)
    compute = LossComputer(model, settings, lambda _: None)
    optimizer = Optimizer(model, settings)
    rows, length = _BATCHES[1], model_config.context_length
    ids = np.random.default_rng(0).integers(0, model_config.vocab_size, (rows, length + 1))

    def step() -> float:
        started = time.perf_counter()
        (loss,) = compute.backward([(ids[:, :-1], ids[:, 1:])], rows * length)
        loss.item()
        optimizer.step(0.0)
        return time.perf_counter() - started

    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < _PROBE_SECONDS:
        times.append(step())
    weights = _weights(model_config)
    return weights, (6.0 * weights + attention_flops(model_config)) * rows * length / float(np.median(times))


def _explain(config: Config, free_shape: bool, tokens: float, data_bytes: float, rate: float) -> list[str]:
    model, train = config.model, config.train
    steps = tokens / (train.batch_size * train.accumulate * model.context_length)
    share = tokens * _bytes_per_token(model.vocab_size) / max(data_bytes, 1.0)
    seen = f"{share:.0%} of" if share < 1 else f"{share:,.1f} times"
    shape = f"{model.num_layers} layers, {model.d_model} wide, {model.nhead} heads, vocabulary {model.vocab_size:,}"
    lines = [
        f"Chosen for {train.minutes:g} minutes at {rate / 1e9:,.0f} GFLOP/s and {data_bytes / 1e6:,.1f} MB of text:",
        f"  {shape}: some {_weights(model) / 1e6:.1f} million weights",
        f"  batches of {train.batch_size} x {model.context_length} tokens: some {steps:,.0f} steps, {seen} the text",
    ]
    if free_shape:
        lines.append("  A larger model would see too little text in that time, a smaller one would make less of it.")
        lines.append(f"  Or choose by hand, as in --set model.d_model={model.d_model} --set model.nhead={model.nhead}")
    return lines
