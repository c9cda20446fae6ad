"""Choose size, vocabulary, batch and regularization for a time budget.

A larger model learns more from each token, but sees fewer tokens in the time. The loss is predicted by a scaling law of
the form of Hoffmann et al. 2022 (arXiv:2203.15556), in which repeated data counts less (Muennighoff et al. 2023,
arXiv:2305.16264), fitted to runs of this recipe (docs/experiments.md). The more often text is repeated, the stronger
the weight decay (Kim et al. 2025, arXiv:2509.14786).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinylm.config import Config, ModelConfig, config_values, make_config
from tinylm.manifest import read_manifest
from tinylm.run_folder import StageName
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.training.mfu import attention_flops
from tinylm.training.speed import Shape, Speed, block_weights, interpolate, matrix_weights, measure_speed, shaped
from tinylm.training.step_budget import share_of

_SHAPES: tuple[Shape, ...] = (
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
# Bytes of text for each token, by vocabulary, measured on simple English
_BYTES_PER_TOKEN = {512: 2.10, 1024: 2.68, 2048: 3.30, 4096: 3.83, 8192: 4.27}
_BYTES_A_PIECE = 190.0  # of text, at least, for each piece of the vocabulary: rare pieces are not learned
_WEIGHTS_A_BYTE = 4.0  # in the blocks, at most, for each byte of text: more would overfit
_SHAPE_KEYS = ("d_model", "nhead", "num_layers", "dim_feedforward")
# After the choice: tokenizer, tokenization, calibration and report
_OTHER_SECONDS = 3.5
_TOKENIZED_A_SECOND = 6e6  # bytes of text a thread
_PACKED_A_SECOND = 4e6  # bytes of conversations
_VALIDATION_SHARE = 0.04
_SAMPLE_MEGABYTES_A_MINUTE = 4.0
_BATCHES = (4, 8, 16, 32, 64)
_STEPS_WANTED = {8: 500, 16: 800, 32: 800, 64: 800}  # fewer rows than 8 leave too much time to the optimizer
# A model that is slower on the device must reduce the bits per byte by more than this part
_DEVICE_TOLERANCE = 0.01

_MOST_EPOCHS = 12.0
_WEIGHT_DECAY, _DECAY_GROWTH, _MOST_WEIGHT_DECAY, _DECAY_TOKENS = 0.05, 1.4, 1.4, 2048.0
_DROPOUT, _DROPOUT_EPOCHS = 0.1, {"classic": math.inf, "modern": 8.0, "llama": 8.0}


@dataclass(frozen=True)
class Law:
    """Predicts bits per byte: a floor, and a power law of each of blocks, text and vocabulary.

    Repeated bytes count less with each repetition; in little text, pieces of a vocabulary over 4,096 are too rare.
    """

    floor: float = 0.355
    blocks: tuple[float, float, float] = (0.200, 1e6, 0.330)
    text: tuple[float, float, float] = (0.320, 1e7, 0.493)
    vocabulary: tuple[float, float, float] = (0.461, 4096.0, 0.167)
    repeats: float = 4.0
    rare: float = 0.1

    def __call__(self, blocks: float, vocab_size: int, seen: float, unique: float) -> float:
        """Predict the bits per byte.

        Args:
            blocks: number of weights in the blocks.
            vocab_size: number of pieces.
            seen: bytes of text that training sees, repetitions included.
            unique: bytes of text in the data.
        """
        excess = max(0.0, seen / unique - 1)
        worth = min(seen, unique) + unique * self.repeats * (1 - math.exp(-excess / self.repeats))
        terms = ((blocks, self.blocks), (worth, self.text), (vocab_size, self.vocabulary))
        powers = sum(factor * math.pow(value / unit, -exponent) for value, (factor, unit, exponent) in terms)
        rare = self.rare * max(0.0, vocab_size**2 - self.vocabulary[1] ** 2) * (1e3 / worth) ** 2
        return self.floor + powers + rare


@dataclass(frozen=True)
class SizeChoice:
    """The chosen configuration.

    Attributes:
        config: the configuration with the chosen values.
        chosen: the chosen values, as `section.key`.
        lines: an explanation for the user.
    """

    config: Config
    chosen: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def choose(
    config: Config,
    given: Iterable[str],
    text_bytes: Mapping[StageName, float],
    speed: Speed | None = None,
    spent: float = 0.0,
    processes: int = 1,
) -> SizeChoice:
    """Choose the values that are not given.

    Args:
        config: the configuration, with the budget in minutes and resolved device, precision and threads.
        given: the values that the user has set, as `section.key`.
        text_bytes: UTF-8 bytes of text of each stage.
        speed: the speed of this process; None measures it.
        spent: seconds of the budget that have passed.
        processes: number of processes that train together, all of the same speed.
    """
    given = set(given)
    started = time.perf_counter()
    speed = speed or measure_speed(config)
    spent += time.perf_counter() - started
    estimate = Estimate(config, given, speed, seconds_to_train(config, text_bytes, spent), text_bytes, processes)
    model = estimate.best()
    values = config_values(config)
    changed: dict[str, Any] = {}
    if estimate.free_shape:
        keys = [key for key in (*_SHAPE_KEYS, "num_kv_heads") if getattr(model, key) != getattr(config.model, key)]
        changed.update({f"model.{key}": getattr(model, key) for key in keys})
    sample = min(config.tokenizer.max_sample_megabytes, _SAMPLE_MEGABYTES_A_MINUTE * config.train.minutes)
    epochs = estimate.epochs(model)
    first = next(iter(epochs))
    batch_size = estimate.batch_size(model)
    step_tokens = batch_size * config.train.accumulate * model.context_length
    others = {
        "model.vocab_size": model.vocab_size,
        "model.dropout": dropout(config.model.arch, epochs[first]),
        "train.batch_size": batch_size,
        "train.weight_decay": weight_decay(epochs[first], step_tokens),
        "train.max_epochs": _MOST_EPOCHS,
        "tokenizer.max_sample_megabytes": max(1.0, sample),
    }
    if len(epochs) > 1:
        others["train.finetune_weight_decay"] = weight_decay(epochs["finetune"], step_tokens)
        others["train.pretrain_share"] = estimate.pretrain_share(model)
    changed.update({name: value for name, value in others.items() if name not in given})
    for name, value in changed.items():
        section, _, key = name.partition(".")
        values[section][key] = value
    chosen = make_config(values)
    lines = _explain(chosen, model, estimate)
    if config.model.arch == "classic" and "model.arch" not in given:
        lines.append(
            "  The modern architecture comes out some 2 to 5 % better in the same time: --set model.arch=modern"
        )
    return SizeChoice(chosen, list(changed), lines)


def weight_decay(epochs: float, step_tokens: float) -> float:
    """Choose the weight decay.

    What counts is after how many tokens a weight has decayed (Wang and Aitchison 2024, arXiv:2405.13698): fewer steps
    of more tokens each need a stronger decay in each step.

    Args:
        epochs: how often the text is seen.
        step_tokens: tokens of a step.
    """
    for_few_tokens = min(_MOST_WEIGHT_DECAY, _WEIGHT_DECAY * max(1.0, epochs) ** _DECAY_GROWTH)
    return float(f"{for_few_tokens * step_tokens / _DECAY_TOKENS:.2g}")


def dropout(arch: str, epochs: float) -> float:
    """Choose the dropout for a number of epochs."""
    return _DROPOUT if epochs >= _DROPOUT_EPOCHS[arch] else 0.0


class Estimate:
    """Estimates what models reach in the time.

    Args:
        config: the configuration, whose given values are used.
        given: the values that the user has set, as `section.key`.
        speed: the speed of each process.
        seconds: the time for training steps.
        text_bytes: UTF-8 bytes of text of each stage.
        processes: number of processes that train together.
    """

    def __init__(
        self,
        config: Config,
        given: set[str],
        speed: Speed,
        seconds: float,
        text_bytes: Mapping[StageName, float],
        processes: int,
    ) -> None:
        self.config, self.speed, self.seconds, self.processes = config, speed, seconds, processes
        self._text_bytes = {stage: max(1.0, size) for stage, size in text_bytes.items()}
        self.data_bytes = sum(self._text_bytes.values())
        self._share_is_given = "train.pretrain_share" in given
        self.free_shape = not any(f"model.{key}" in given for key in _SHAPE_KEYS)
        self._vocabularies = (
            [config.model.vocab_size] if "model.vocab_size" in given else _vocabularies(self.data_bytes)
        )
        self._batch_sizes = (config.train.batch_size,) if "train.batch_size" in given else _BATCHES
        self._most_epochs = config.train.max_epochs or math.inf
        if "train.max_epochs" not in given:
            self._most_epochs = _MOST_EPOCHS
        self._law = Law()

    def best(self) -> ModelConfig:
        """Choose the best model; if the device's speed is given, the fastest of those that are about as good."""
        models = [
            shaped(self.config.model, shape, vocabulary)
            for shape in (_shapes(self.data_bytes) if self.free_shape else (None,))
            for vocabulary in self._vocabularies
        ]
        expected = [self.bits_per_byte(model) for model in models]
        if not self.config.train.device_tokens_per_second:
            return models[expected.index(min(expected))]
        good = [
            model
            for model, bits in zip(models, expected, strict=True)
            if bits <= min(expected) * (1 + _DEVICE_TOLERANCE)
        ]
        return min(good, key=lambda model: matrix_weights(model) / bytes_per_token(model))

    def bits_per_byte(self, model: ModelConfig) -> float:
        """Predict the bits per byte of a model on text like the training data."""
        seen = self.tokens(model) * bytes_per_token(model)
        return self._law(block_weights(model), model.vocab_size, seen, self.data_bytes)

    def batch_size(self, model: ModelConfig) -> int:
        """Choose the largest batch size that leaves enough steps."""
        enough = [size for size in self._batch_sizes if self._steps(model, size) >= _STEPS_WANTED.get(size, 0)]
        return max(enough, default=self._batch_sizes[0])

    def tokens(self, model: ModelConfig) -> float:
        """Count the tokens that all stages train on."""
        return sum(self._stage_tokens(model).values())

    def epochs(self, model: ModelConfig) -> dict[StageName, float]:
        """Count the epochs of each stage."""
        epochs = self._epoch_tokens(model)
        return {stage: tokens / epochs[stage] for stage, tokens in self._stage_tokens(model).items()}

    def pretrain_share(self, model: ModelConfig) -> float:
        """Choose the part of the time for pre-training."""
        tokens = self._stage_tokens(model)
        return float(f"{min(0.99, max(0.01, tokens['pretrain'] / sum(tokens.values()))):.2g}")

    def needs_less_time(self, model: ModelConfig) -> bool:
        """Whether the maximum number of epochs ends before the time."""
        return min(self.epochs(model).values()) > 0.99 * self._most_epochs

    def _steps(self, model: ModelConfig, batch_size: int) -> float:
        """Count the steps of all stages."""
        tokens = batch_size * self.config.train.accumulate * model.context_length
        step_seconds = tokens / self.processes * self.speed.token_seconds(model) + self.speed.update_seconds(model)
        return min(self.seconds / step_seconds, self._most_epochs * sum(self._epoch_tokens(model).values()) / tokens)

    def _stage_tokens(self, model: ModelConfig) -> dict[StageName, float]:
        """Count the tokens that each stage trains on: its part of the time, up to the maximum number of epochs.

        Time that one stage does not need goes to the other.
        """
        size = self.batch_size(model)
        total = self._steps(model, size) * size * self.config.train.accumulate * model.context_length
        stages: list[StageName] = list(self._text_bytes)
        most = {stage: self._most_epochs * tokens for stage, tokens in self._epoch_tokens(model).items()}
        found = {stage: min(most[stage], total * share_of(stage, stages, self.config.train)) for stage in stages}
        if not self._share_is_given:
            for stage in stages:
                found[stage] = min(most[stage], found[stage] + total - sum(found.values()))
        return found

    def _epoch_tokens(self, model: ModelConfig) -> dict[StageName, float]:
        return {stage: size / bytes_per_token(model) for stage, size in self._text_bytes.items()}


def bytes_per_token(model: ModelConfig) -> float:
    """Estimate the bytes of text for each token of the model's vocabulary."""
    return interpolate(model.vocab_size, tuple(_BYTES_PER_TOKEN.items()))


def seconds_to_train(config: Config, text_bytes: Mapping[StageName, float], spent: float) -> float:
    """Estimate the seconds of the budget that are left for training steps, at least a quarter of it."""
    budget = 60 * config.train.minutes
    tokenizing = sum(text_bytes.values()) / (_TOKENIZED_A_SECOND * max(1, config.train.threads))
    tokenizing += text_bytes.get("finetune", 0.0) / _PACKED_A_SECOND
    return max(budget / 4, (budget - spent - tokenizing - _OTHER_SECONDS) * (1 - _VALIDATION_SHARE))


def _shapes(data_bytes: float) -> list[Shape]:
    fitting = [shape for shape in _SHAPES if 12 * shape[0] ** 2 * shape[1] <= _WEIGHTS_A_BYTE * data_bytes]
    return fitting or [_SHAPES[0]]


def _vocabularies(data_bytes: float) -> list[int]:
    return [size for size in sorted(_BYTES_PER_TOKEN) if size * _BYTES_A_PIECE <= data_bytes] or [min(_BYTES_PER_TOKEN)]


def _explain(config: Config, wanted: ModelConfig, estimate: Estimate) -> list[str]:
    model, train = config.model, config.train
    steps = estimate.tokens(wanted) / (train.batch_size * train.accumulate * model.context_length)
    epochs = estimate.epochs(wanted)
    seen = " and ".join(f"{times:.0%} of" if times < 1 else f"{times:,.1f} times" for times in epochs.values())
    texts = "the text" if len(epochs) == 1 else "the text and the chats"
    shape = f"{model.num_layers} layers, {model.d_model} wide, {model.nhead} heads, vocabulary {model.vocab_size:,}"
    rate = (6.0 * matrix_weights(model) + attention_flops(model)) / estimate.speed.token_seconds(model)
    rate *= estimate.processes
    lines = [
        f"Chosen for {train.minutes:g} minutes at {rate / 1e9:,.0f} GFLOP/s and {estimate.data_bytes / 1e6:,.1f} MB of "
        "text:",
        f"  {shape}: about {matrix_weights(model) / 1e6:.1f} million weights",
        f"  batches of {train.batch_size} x {model.context_length} tokens: about {steps:,.0f} steps, {seen} {texts}",
        f"  weight decay {train.weight_decay:g}, dropout {model.dropout:g}, for text that is repeated so often",
        _device_line(config),
    ]
    if estimate.free_shape:
        lines.append("  A larger model would see too little text in that time, a smaller one would learn less from it.")
        lines.append(f"  To choose another size: --set model.d_model={model.d_model} --set model.nhead={model.nhead}")
    if estimate.needs_less_time(wanted):
        lines.append(
            "  Training will end before the time is over: more passes over so little text would not improve the model."
        )
    if estimate.speed.busy:
        lines.append("  Other programs are using the processor; steps and threads are adapted during training.")
    return lines


def _device_line(config: Config) -> str:
    """State the model's cost on the device."""
    model = config.model
    weights = matrix_weights(model)
    share = model.d_model * model.vocab_size / weights
    line = f"  each generated token reads {weights / 1e6:.1f} MB in int8, {share:.0%} of it for the vocabulary"
    if config.train.device_tokens_per_second:
        demo = read_manifest(DEMO_BUNDLE).model
        speed = config.train.device_tokens_per_second * matrix_weights(demo) / weights
        line += f": about {speed:,.0f} tokens/s on your device, {speed * bytes_per_token(model):,.0f} bytes of text"
    return line
