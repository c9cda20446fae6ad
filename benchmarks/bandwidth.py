"""How fast this machine reads memory."""

from __future__ import annotations

from tinylm.runtime.device.bandwidth import MemoryBuffer

_SIZE = 2**30
_memory: MemoryBuffer | None = None


def read_bandwidth(threads: int) -> float:
    """Gigabytes a second, once; the buffer is kept for the next time."""
    global _memory
    _memory = _memory or MemoryBuffer(_SIZE)
    return _memory.gigabytes_per_second(threads)
