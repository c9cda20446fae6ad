"""What is measured of a runtime, and how."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number of tokens, timed.

    Attributes:
        name: as in the results.
        context: tokens in the cache beforehand.
        tokens: tokens that are added.
        at_once: in one call, or one by one.
    """

    name: str
    context: int
    tokens: int
    at_once: bool = False


METRICS = (
    Metric("prefill", context=0, tokens=128, at_once=True),
    Metric("decode", context=128, tokens=128),
    Metric("decode_empty", context=0, tokens=128),
    Metric("decode_900", context=900, tokens=64),
)
PROMPT = METRICS[0]
_WARM_UP = 8


def tokens_for(count: int, vocab_size: int) -> list[int]:
    """Token ids that are spread over the vocabulary: the same for every runtime."""
    return [(7 + 611 * number) % vocab_size for number in range(count)]


class Loop(ABC):
    """One sequence of tokens in a runtime."""

    vocab_size: int
    _filled = 0

    @abstractmethod
    def keep(self, length: int) -> None:
        """Keep only the first `length` tokens in the cache."""

    @abstractmethod
    def prefill(self, ids: Sequence[int]) -> None:
        """Append tokens in one call, and wait for the logits of the last."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> None:
        """Append tokens one by one, and wait for the logits of each."""

    def seconds(self, metric: Metric) -> float:
        """Measure, warm: right after some of the same work."""
        ids = tokens_for(metric.context + metric.tokens, self.vocab_size)
        before, new = ids[: metric.context], ids[metric.context :]
        if metric.context > self._filled:
            self.keep(0)
            self.prefill(before)
        else:
            self.keep(metric.context)
        append = self.prefill if metric.at_once else self.decode
        append(new if metric.at_once else new[:_WARM_UP])
        self.keep(metric.context)
        self._filled = metric.context
        started = time.perf_counter()
        append(new)
        return time.perf_counter() - started
