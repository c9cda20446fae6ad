"""Estimate the memory of training, detect that it ran out, and say what to try."""

from __future__ import annotations

import torch

from tinylm.config import Config, ModelConfig, TrainConfig
from tinylm.errors import TinyLMError
from tinylm.training.model import attends_plainly

_LIBRARIES = 0.6e9  # bytes
_FLOAT = 4
# What a backward pass needs of each token, in floats for each block: of the width, and of queries, keys and values
_OF_WIDTH, _OF_HEADS = 6.5, 2.0
_HALF_SHARE = 0.6  # of that memory, in bf16

# Texts of RuntimeErrors: of torch's CPU allocator, of Apple's GPUs, of cuBLAS and cuDNN, of C++ libraries
_TEXTS = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "std::bad_alloc")


def training_bytes(model: ModelConfig, settings: TrainConfig) -> float:
    """Estimate the memory of a process that trains, in bytes.

    Args:
        model: the model's shape.
        settings: precision, what is trained, and `batch_size`, the rows of a pass of this process.
    """
    vocabulary = model.vocab_size * model.d_model * (1 if model.tie_embeddings else 2)
    trained = 0 if settings.freeze_embeddings == "on" else vocabulary
    trained += _adapter_weights(model, settings.lora_rank) if settings.lora_rank else model.block_weights
    weights = _FLOAT * (vocabulary + model.block_weights)
    states = _FLOAT * 2 * trained
    # A file of a checkpoint is put together in memory, twice; weights are merged with adapters before
    saving = max((3 if settings.lora_rank else 2) * weights, 2 * states)
    step = _FLOAT * trained + settings.batch_size * model.context_length * _token_bytes(model, settings)
    # What a step frees is kept for the next one
    return _LIBRARIES + weights + states + step + saving


def _token_bytes(model: ModelConfig, settings: TrainConfig) -> float:
    """Bytes that a backward pass needs of a token."""
    share = _HALF_SHARE if settings.precision == "bf16" else 1.0
    heads = (model.nhead + 2 * model.kv_heads) * model.head_dim
    inner = (model.feedforward_matrices + 1) * model.dim_feedforward
    block = _FLOAT * share * (_OF_WIDTH * model.d_model + _OF_HEADS * heads + inner)
    if attends_plainly(settings.precision == "bf16", model.context_length, model.dropout):
        block += _FLOAT * model.nhead * model.context_length
    if settings.gradient_checkpointing:
        return block + _FLOAT * model.num_layers * model.d_model
    return block * model.num_layers


def _adapter_weights(model: ModelConfig, rank: int) -> int:
    inner, heads, kv = model.dim_feedforward, model.nhead * model.head_dim, 2 * model.kv_heads * model.head_dim
    sides = 4 * model.d_model + 2 * heads + kv + model.feedforward_matrices * inner
    return model.num_layers * rank * sides


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, NumPy or another library could not allocate memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def out_of_memory(config: Config | None = None, processes: int = 1) -> TinyLMError:
    """The error for the user.

    Args:
        config: of the run; None where it is not known yet.
        processes: that train together, and by which the batch size must be divisible.
    """
    where, batch = "", "a smaller train.batch_size"
    if config is not None:
        where = f" on {config.train.device}"
        size, passes = config.train.batch_size, config.train.accumulate
        if size % (2 * processes) == 0:
            batch = (
                f"--set train.batch_size={size // 2} --set train.accumulate={2 * passes} (the same steps, more slowly)"
            )
    return TinyLMError(
        f"too little memory to train{where}: try {batch}, a shorter model.context_length or a smaller model, "
        "or close other programs"
    )
