"""Choose how a pre-trained model is trained further that is much larger than data and budget could train.

Such a model sees fewer tokens than it has weights. What it knows must be kept, and the time of a step counts: it learns
slowly, in rows that are only as long as the texts, by low-rank adapters where all weights would take too long or too
much memory (docs/experiments.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from msgspec.structs import replace

from tinylm.config import Config, ModelConfig, config_values, make_config
from tinylm.run_folder import StageName
from tinylm.runtime.device.machine import read_memory
from tinylm.training.autosize import SizeChoice, bytes_per_token, seconds_to_train
from tinylm.training.memory import training_bytes
from tinylm.training.speed import Speed, block_weights, matrix_weights, measure_speed

_FEWEST_WEIGHTS = 1e7  # smaller models are quickly trained as a whole
_SHORTEST_ROW, _LONGEST_ROW = 512, 2048
_TEXTS_A_ROW = 2.0  # of mean length, at least: longer ones than the mean must fit too
_RANK = 16
# The learning rate of all weights falls with the width; that of adapters is ten times as high, whatever their rank
_RATE, _RATE_WIDTH, _RATE_EXPONENT, _LORA_FACTOR = 5e-5, 2000.0, 0.781, 10.0
_LORA_STEP = 2 / 3  # of the time of a step of all weights: no gradient of the matrices
_TOKENS_A_WEIGHT = 0.1  # with fewer, adapters learn more in the time
_MOST_EPOCHS = 4.0
_STEPS_WANTED = 300.0
_STEP_TOKENS = 1024, 16_384
_PASS_TOKENS = {"cpu": 1024, "cuda": 16_384, "mps": 4096}  # more make a pass no faster
_VALIDATION_SHARE, _FEWEST_VALIDATION_TOKENS = 0.05, 2048
_UNKNOWN_MEMORY, _MEMORY_SHARE = 6e9, 0.8


@dataclass(frozen=True)
class FurtherTraining:
    """What the plan depends on beside the configuration.

    Attributes:
        text_bytes: UTF-8 bytes of text of each stage.
        example_bytes: mean bytes of a document or conversation of each stage.
        learns_vocabulary: whether some rows of the vocabulary are new.
        spent: seconds of the budget that have passed.
        processes: number of processes that train together.
        speed: of each process; None measures it where minutes are the budget.
        memory: bytes that are free; None reads it.
    """

    text_bytes: Mapping[StageName, float]
    example_bytes: Mapping[StageName, float]
    learns_vocabulary: bool
    spent: float = 0.0
    processes: int = 1
    speed: Speed | None = None
    memory: float | None = None


def plan_further(config: Config, own: set[str], further: FurtherTraining) -> SizeChoice:
    """Choose what the user has not set, if the model is much larger than the budget could train.

    Args:
        config: the configuration, with device, precision and threads resolved, and the model's own shape.
        own: the values that the user has set, as `section.key`.
        further: data, speed and memory.

    Returns:
        the choice; without anything chosen where the model is trained like any other.
    """
    if matrix_weights(config.model) < _FEWEST_WEIGHTS:
        return SizeChoice(config)
    values = config_values(config)
    if "model.context_length" not in own:
        values["model"]["context_length"] = _row_length(config.model, further)
    plan = _Plan(make_config(values), own, further)
    if plan.tokens(lora=False) >= block_weights(config.model):
        return SizeChoice(config)
    chosen = {name: value for name, value in plan.values().items() if name not in own}
    for name, value in chosen.items():
        section, _, key = name.partition(".")
        values[section][key] = value
    planned = make_config(values)
    if planned.model != config.model:
        chosen["model.context_length"] = planned.model.context_length
    return SizeChoice(planned, list(chosen), plan.explain(planned, config.model.context_length))


class _Plan:
    """The values for a model that is trained further, and why.

    Args:
        config: the configuration, with the rows' length as the model's context.
        own: the values that the user has set.
        further: data, speed and memory.
    """

    def __init__(self, config: Config, own: set[str], further: FurtherTraining) -> None:
        self._config, self._own, self._further = config, own, further
        self._weights = matrix_weights(config.model)
        self._text = sum(further.text_bytes.values()) / bytes_per_token(config.model)
        self._most_epochs = config.train.max_epochs if "train.max_epochs" in own else _MOST_EPOCHS
        self._token_seconds = self._seconds = 0.0
        if not config.train.steps:
            started = time.perf_counter()
            speed = further.speed or measure_speed(config)
            self._token_seconds = speed.token_seconds(config.model) / further.processes
            self._seconds = seconds_to_train(config, further.text_bytes, further.spent + time.perf_counter() - started)
        self._room = further.memory or _free_memory(config.train.device)
        whole = replace(config.train, lora_rank=0, batch_size=1)
        self._is_too_large = training_bytes(config.model, whole) > self._room
        self._is_too_slow = self.tokens(lora=False) < _TOKENS_A_WEIGHT * self._weights
        self._lora = self._is_too_large or self._is_too_slow
        if "train.lora_rank" in own:
            self._lora = config.train.lora_rank > 0

    def tokens(self, lora: bool) -> float:
        """Tokens that the budget is enough for, up to the maximum number of epochs."""
        train = self._config.train
        if train.steps:
            return float(train.steps * train.batch_size * train.accumulate * self._config.model.context_length)
        seen = self._seconds / self._token_seconds / (_LORA_STEP if lora else 1.0)
        return min(seen, self._most_epochs * self._text) if self._most_epochs else seen

    def values(self) -> dict[str, Any]:
        """The values by `section.key`, whether the user has set them or not."""
        rate = _learning_rate(self._config.model.d_model, self._lora)
        chosen = {
            **self._trained(),
            "train.optimizer": "adamw",
            "train.learning_rate": rate,
            "train.finetune_learning_rate": rate,
            "train.weight_decay": 0.0,
            "train.max_epochs": _MOST_EPOCHS,
            **self._passes(),
        }
        if not self._config.train.steps:
            chosen["data.validation_tokens"] = self._validation_tokens()
        return chosen

    def _trained(self) -> dict[str, Any]:
        """What is trained."""
        return {
            "train.lora_rank": _RANK if self._lora else 0,
            "train.freeze_embeddings": "off" if self._further.learns_vocabulary else "on",
        }

    def _passes(self) -> dict[str, Any]:
        """Rows of a pass, and passes of a step: as many rows as memory has room for, and more make no faster."""
        model, processes = self._config.model, self._further.processes
        trained = {name: value for name, value in self._trained().items() if name not in self._own}
        train = replace(self._config.train, **{name.partition(".")[2]: value for name, value in trained.items()})
        kind = train.device.partition(":")[0]
        if train.steps:
            step = train.batch_size * train.accumulate
        else:
            least, most = _STEP_TOKENS
            rows_wanted = min(most, max(least, self.tokens(self._lora) / _STEPS_WANTED)) / model.context_length
            step = 1 << max(0, round(math.log2(rows_wanted)))  # so that passes of fewer rows make the same
        rows = processes * max(1, _PASS_TOKENS.get(kind, _PASS_TOKENS["cpu"]) // model.context_length)
        rows = min(rows, max(step, processes))
        while rows > processes and training_bytes(model, replace(train, batch_size=rows // processes)) > self._room:
            rows -= processes
        if "train.batch_size" in self._own:
            rows = train.batch_size
        recomputes = training_bytes(model, replace(train, batch_size=rows // processes)) > self._room
        passes = max(1, round(step / rows))
        return {"train.batch_size": rows, "train.accumulate": passes, "train.gradient_checkpointing": recomputes}

    def _validation_tokens(self) -> int:
        """Tokens of a validation, such that all of them take a small part of the time."""
        config = self._config
        seconds = _VALIDATION_SHARE * self._seconds / config.train.validations
        tokens = int(seconds / (self._token_seconds / 3))
        return min(config.data.validation_tokens, max(_FEWEST_VALIDATION_TOKENS, tokens))

    def explain(self, planned: Config, longest: int) -> list[str]:
        """Lines for the user.

        Args:
            planned: the configuration with the chosen values.
            longest: the context of the model to start from.
        """
        train, model = planned.train, planned.model
        tokens = self.tokens(self._lora)
        budget = f"{train.steps:,} steps" if train.steps else f"{train.minutes:g} minutes"
        memory = training_bytes(model, replace(train, batch_size=train.batch_size // self._further.processes))
        lines = [
            f"Chosen for {budget} and {self._weights / 1e6:,.0f} million weights that are trained already:",
            self._reason(train.lora_rank, tokens),
            f"  learning rate {train.finetune_learning_rate:g}, low, to keep what the model knows; embeddings "
            f"{'stay as they are' if train.freeze_embeddings == 'on' else 'are trained'}",
            f"  {train.accumulate} x {train.batch_size} rows of {model.context_length:,} tokens a step: about "
            f"{tokens / (train.batch_size * train.accumulate * model.context_length):,.0f} steps, "
            f"{tokens / self._text:.2g} times the text; about {memory / 1e9:.1f} GB of memory"
            f"{', which blocks computed twice keep low' if train.gradient_checkpointing else ''}",
        ]
        if model.context_length < longest:
            lines.append(
                f"  The texts fit in rows of {model.context_length:,} tokens; the model will see so many, and not the "
                f"{longest:,} that it could. For longer chats: --set model.context_length={2 * model.context_length}"
            )
        return lines

    def _reason(self, rank: int, tokens: float) -> str:
        if not rank:
            return "  all weights are trained (full fine-tuning); with less time or memory: --set train.lora_rank=16"
        if self._is_too_large:
            why = f"memory of {self._room / 1e9:.1f} GB is too little to train all weights"
        else:
            why = f"the time is too short to train all weights ({tokens / 1e6:.2g} million tokens)"
        return f"  low-rank adapters (LoRA) of rank {rank}, as {why}; all the same: --set train.lora_rank=0"


def _learning_rate(width: int, lora: bool) -> float:
    """The rate fitted to Llamas of many widths by Schulman et al. 2025, thinkingmachines.ai/blog/lora."""
    rate = _RATE * (_RATE_WIDTH / width) ** _RATE_EXPONENT
    return float(f"{rate * (_LORA_FACTOR if lora else 1.0):.2g}")


def _row_length(model: ModelConfig, further: FurtherTraining) -> int:
    """The least power of two in which texts have room, of at least 512 tokens."""
    wanted = _TEXTS_A_ROW * max(further.example_bytes.values()) / bytes_per_token(model)
    exponent = math.ceil(math.log2(max(_SHORTEST_ROW, min(_LONGEST_ROW, wanted))))
    return min(model.context_length, 1 << exponent)


def _free_memory(device: str) -> float:
    """Bytes that training may take."""
    if device.startswith("cuda"):
        return _MEMORY_SHARE * torch.cuda.mem_get_info(torch.device(device))[0]
    return _MEMORY_SHARE * (read_memory().room or _UNKNOWN_MEMORY)
