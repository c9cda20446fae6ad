"""Statistics of a stream in bounded memory: a uniform sample, and the share of duplicates."""

from __future__ import annotations

import hashlib
import random
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BoundedSample(Generic[Item]):
    """A uniform sample of a stream, or all of it while it is small. Equal streams give equal samples.

    Attributes:
        max_size: approximate limit of the sizes of the kept items together.
        share: share of the items that are kept, on average.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.share = 1.0
        self._random = random.Random(0)
        self._kept: list[tuple[float, int, Item]] = []
        self._size = 0

    def add(self, item: Item, size: int) -> None:
        """Offer the next item of the stream to the sample."""
        priority = self._random.random()
        if priority >= self.share:
            return
        self._kept.append((priority, size, item))
        self._size += size
        while self._size > self.max_size and len(self._kept) > 1:
            self.share /= 2
            self._kept = [kept for kept in self._kept if kept[0] < self.share] or self._kept[:1]
            self._size = sum(size for _, size, _ in self._kept)

    @property
    def items(self) -> list[Item]:
        """The kept items in the order of the stream."""
        return [item for _, _, item in self._kept]


class DuplicateCounter:
    """Counts repeated texts by hash. Beyond a limit it counts only texts with some hashes, to bound its memory.

    Args:
        max_distinct: distinct texts that are counted at most.
    """

    def __init__(self, max_distinct: int = 100_000) -> None:
        self._max_distinct = max_distinct
        self._mask = 0
        self._counts: dict[int, int] = {}

    def add(self, text: str) -> None:
        """Count a text."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        key = int.from_bytes(digest)
        if key & self._mask:
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        while len(self._counts) > self._max_distinct:
            self._mask = 2 * self._mask + 1
            self._counts = {key: count for key, count in self._counts.items() if not key & self._mask}

    @property
    def share(self) -> float:
        """Share of the texts that repeat an earlier one, 0 to 1."""
        total = sum(self._counts.values())
        return 1 - len(self._counts) / total if total else 0.0

    @property
    def commonest_share(self) -> float:
        """Share of the most frequent text among all texts, 0 to 1."""
        total = sum(self._counts.values())
        return max(self._counts.values()) / total if total else 0.0

    @property
    def looked_at(self) -> float:
        """Share of the distinct texts that are counted, 0 to 1."""
        return 1 / (self._mask + 1)
