"""The memory that a bundle needs, and clear errors where there is too little."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from tinylm.errors import BundleError
from tinylm.manifest import X86, Manifest
from tinylm.processors import ROOT
from tinylm.runtime.device.machine import read_memory

_LIBRARIES = 75_000_000
"""Bytes of Python, the packages and intermediate values; 70 to 78 MB were measured."""

_WEIGHTS = 2
"""Copies of the weights in memory: as read by onnxruntime, and as packed for its kernels."""

_WEIGHTS_X86 = 5
"""Copies where the decoding graph for x86 packs the weights in blocks too; 5.0 to 5.2 were measured."""

_BITS = {"fp32": 32, "int4": 4}

BLOCKS_FROM = 16_000_000
"""Size of a model from which exports write that graph."""

_WAYS_OUT = "close other programs, add swap, or train a smaller model or one of shorter context"
_MESSAGES = ("bad_alloc", "failed to allocate", "bad allocation", "out of memory", "cannot allocate memory")


def needed_bytes(manifest: Manifest, has_avx2: bool) -> int:
    """Estimate the memory of a chat with a bundle: libraries, weights and the KV cache in fp32.

    Args:
        manifest: manifest of the bundle.
        has_avx2: whether the CPU is an x86 with AVX2, for which a bundle may have a decoding graph of its own.
    """
    model = manifest.model
    blocks = has_avx2 and X86 in manifest.graph.decode
    cached = model.context_length * model.num_layers * model.kv_heads * model.head_dim
    return estimate_bytes(manifest.model_bytes, cached, blocks)


def estimate_bytes(model_bytes: int, cached_values: int, blocks: bool) -> int:
    """Estimate the memory of a chat with any model.

    Args:
        model_bytes: bytes of the model's weights.
        cached_values: numbers in the keys of the KV cache; the values have as many.
        blocks: whether the decoding graph for x86 is used.
    """
    return _LIBRARIES + (_WEIGHTS_X86 if blocks else _WEIGHTS) * model_bytes + 2 * 4 * cached_values


def weight_bytes(manifest: Manifest) -> int:
    """Bytes of weights that are read for each token: all but an embedding that the output layer does not share."""
    config = manifest.model
    weights = config.block_weights + config.d_model * config.vocab_size
    return weights * _BITS.get(manifest.graph.precision, 8) // 8


def bytes_read(manifest: Manifest, context: int) -> int:
    """Bytes that are read for a token after so many: the weights, and the keys and values in fp32."""
    model = manifest.model
    return weight_bytes(manifest) + 2 * 4 * model.num_layers * model.kv_heads * model.head_dim * context


def check_memory(folder: Path, manifest: Manifest, has_avx2: bool = False, root: Path = ROOT) -> None:
    """Check that there is enough memory for a bundle.

    Args:
        folder: the bundle.
        manifest: its manifest.
        has_avx2: see `needed_bytes`.
        root: the folder that holds proc and sys.

    Raises:
        BundleError: too little memory is free.
    """
    memory = read_memory(root)
    if memory.room is None:
        return
    # The libraries that this process has loaded are part of the estimate
    room = memory.room + min(memory.own, _LIBRARIES)
    needed = needed_bytes(manifest, has_avx2)
    if needed > room:
        limit = f", of a limit of {memory.limit / 1e6:,.0f} MB" if memory.limit is not None else ""
        raise BundleError(
            f"{folder}: needs about {needed / 1e6:,.0f} MB of memory, and {room / 1e6:,.0f} MB are free{limit}: "
            + _WAYS_OUT
        )


def release_unused() -> None:
    """Give memory that was freed back to the system, which glibc would keep for this process."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def explain_allocation(folder: Path, error: BaseException) -> None:
    """Raise a one-line error where an error of Python, NumPy or onnxruntime is a failed allocation.

    Raises:
        BundleError: memory ran out.
    """
    message = str(error).lower()
    if isinstance(error, MemoryError) or any(words in message for words in _MESSAGES):
        raise BundleError(f"{folder}: this machine has too little memory for it: {_WAYS_OUT}") from None
