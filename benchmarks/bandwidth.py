"""How fast this machine reads memory."""

from __future__ import annotations

from tinylm.runtime.device.bandwidth import Memory

_SIZE = 2**30
_memory: Memory | None = None


def read_bandwidth(threads: int) -> float:
    """Gigabytes a second, once; the buffer is kept for the next time."""
    global _memory
    _memory = _memory or Memory(_SIZE)
    return _memory.gigabytes_per_second(threads)
