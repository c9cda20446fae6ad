"""Too little memory for a bundle becomes one clear line, before or while it is loaded."""

from __future__ import annotations

from pathlib import Path

from tinylm.errors import BundleError
from tinylm.manifest import MODEL_FILE, X86, Manifest
from tinylm.processors import ROOT
from tinylm.runtime.device.machine import read_memory

_LIBRARIES = 75_000_000
"""Bytes of Python, the packages and a pass's intermediate values: 70 to 78 MB were measured."""

_WEIGHTS = 2
"""Times that weights are in memory: as onnxruntime read them, and as its kernels want them."""

_WEIGHTS_X86 = 5
"""The same where the decoding graph for x86 packs them in blocks of its own; 5.0 to 5.2 were measured."""

BLOCKS_FROM = 16_000_000
"""Bytes of a model from which exports write that graph."""

_WAYS_OUT = "close other programs, add swap, or train a smaller model or one of shorter context"
_MESSAGES = ("bad_alloc", "failed to allocate", "bad allocation", "out of memory", "cannot allocate memory")


def needed_bytes(manifest: Manifest, has_avx2: bool) -> int:
    """What a chat with a bundle needs, roughly: libraries, weights and the KV cache in fp32.

    Args:
        manifest: of the bundle.
        has_avx2: whether the CPU is an x86 with AVX2, for which a bundle may have another decoding graph.
    """
    model = manifest.model
    blocks = has_avx2 and X86 in manifest.graph.decode
    cached = model.context_length * model.num_layers * model.kv_heads * model.head_dim
    return estimate_bytes(manifest.files[MODEL_FILE].size, cached, blocks)


def estimate_bytes(model_bytes: int, cached_values: int, blocks: bool) -> int:
    """The same of any model.

    Args:
        model_bytes: of its weights.
        cached_values: keys in the KV cache; there are as many values.
        blocks: whether the decoding graph for x86 runs.
    """
    return _LIBRARIES + (_WEIGHTS_X86 if blocks else _WEIGHTS) * model_bytes + 2 * 4 * cached_values


def check_memory(folder: Path, manifest: Manifest, has_avx2: bool = False, root: Path = ROOT) -> None:
    """Make sure that a bundle can be loaded.

    Args:
        folder: the bundle.
        manifest: of it.
        has_avx2: see `needed_bytes`.
        root: the folder with proc and sys.

    Raises:
        BundleError: this machine has too little memory free.
    """
    memory = read_memory(root)
    if memory.room is None:
        return
    # What the libraries take in this very process is theirs already
    room = memory.room + min(memory.own, _LIBRARIES)
    needed = needed_bytes(manifest, has_avx2)
    if needed > room:
        limit = f", of a limit of {memory.limit / 1e6:,.0f} MB" if memory.limit is not None else ""
        raise BundleError(
            f"{folder}: needs about {needed / 1e6:,.0f} MB of memory, and {room / 1e6:,.0f} MB are free{limit}: "
            + _WAYS_OUT
        )


def explain_allocation(folder: Path, error: BaseException) -> None:
    """Turn a failed allocation of Python's, NumPy's or onnxruntime's into a one-line error; nothing for other errors.

    Raises:
        BundleError: memory ran out.
    """
    message = str(error).lower()
    if isinstance(error, MemoryError) or any(words in message for words in _MESSAGES):
        raise BundleError(f"{folder}: this machine has too little memory for it: {_WAYS_OUT}") from None
