"""Detect that memory ran out, and say what to try."""

from __future__ import annotations

import torch

from tinylm.config import Config
from tinylm.errors import TinyLMError

# Texts of RuntimeErrors: of torch's CPU allocator, of Apple's GPUs, of cuBLAS and cuDNN, of C++ libraries
_TEXTS = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "std::bad_alloc")


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
