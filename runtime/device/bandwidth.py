"""How fast this machine reads memory: decoding reads every weight for each token, so that is its limit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_SIZE = 2**26
_REPEATS = 3


class MemoryBuffer:
    """A buffer that no cache can hold.

    Args:
        size: its bytes.
    """

    def __init__(self, size: int) -> None:
        self._buffer: NDArray[np.int64] = np.ones(size // 8, np.int64)

    def gigabytes_per_second(self, threads: int) -> float:
        """Read all of it once, a share on each thread: numpy adds up integers faster than memory delivers them."""
        shares = np.array_split(self._buffer, threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(np.sum, [share[:1] for share in shares]))
            started = time.perf_counter()
            list(pool.map(np.sum, shares))
            return self._buffer.nbytes / (time.perf_counter() - started) / 1e9


def memory_bandwidth(threads: int) -> float:
    """Gigabytes a second that so many threads read, the best of some times; takes 64 MiB."""
    memory = MemoryBuffer(_SIZE)
    return max(memory.gigabytes_per_second(threads) for _ in range(_REPEATS))
