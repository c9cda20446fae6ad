"""Adapt the number of CPU threads to the load by other programs.

Threads that compute a layer together wait for the slowest of them. If another program uses one of their cores, all of
them wait for that one, and fewer threads are faster.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

import torch

_RECENT_STEPS = 5
_SLOWER = 1.4  # fewer threads are tried at this factor of the fastest median
_GAIN = 0.9  # another number of threads is used if it takes less than this part of the time
_ROUNDS = 2
_HOPELESS = 3.0  # a trial ends after its first run at this factor of the time
# Seconds between trials of more threads: this factor of the last trial's duration, within these limits, and twice as
# long after each trial without gain
_TRIAL_FACTOR, _FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 8.0, 60.0
_PAUSE_BEFORE_FEWER = 2.0


class ThreadChooser:
    """Tries other numbers of threads from time to time, and chooses the fastest.

    Args:
        most: the maximum number of threads.
        work: a part of a step without effect, which is timed.
    """

    def __init__(self, most: int, work: Callable[[], object]) -> None:
        self.most, self._work = most, work
        self._recent: deque[float] = deque(maxlen=_RECENT_STEPS)
        self._fastest: dict[int, float] = {}
        self._pause, self._tried, self._trial_seconds = _FIRST_PAUSE, time.monotonic(), 0.0

    def add_step(self, threads: int, seconds: float) -> None:
        """Add the duration of a step and its number of threads."""
        self._recent.append(seconds)
        if len(self._recent) == _RECENT_STEPS:
            median = statistics.median(self._recent)
            self._fastest[threads] = min(median, self._fastest.get(threads, median))

    def first(self) -> int:
        """Measure the fastest number of threads at the moment."""
        threads = self.most
        while threads > 1:
            fewer = threads // 2
            if self._faster(threads, fewer) == threads:
                break
            threads = fewer
        return threads

    def wanted(self, threads: int) -> int:
        """Choose the number of threads of the next step, which seldom changes.

        Args:
            threads: the current number.
        """
        pause = time.monotonic() - self._tried
        if threads > 1 and pause >= _PAUSE_BEFORE_FEWER and self._is_slow(threads):
            best = self._faster(threads, threads // 2)
            if best == threads:  # the machine itself has become slower
                self._fastest[threads] = statistics.median(self._recent)
        elif threads < self.most and pause >= max(self._pause, _TRIAL_FACTOR * self._trial_seconds):
            best = self._faster(threads, min(self.most, 2 * threads))
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        else:
            return threads
        if best != threads:
            self._pause, self._trial_seconds = _FIRST_PAUSE, 0.0
            self._recent.clear()
        return best

    def _is_slow(self, threads: int) -> bool:
        usual = self._fastest.get(threads)
        return (
            usual is not None
            and len(self._recent) == _RECENT_STEPS
            and statistics.median(self._recent) > _SLOWER * usual
        )

    def _faster(self, now: int, other: int) -> int:
        """Time both in turns, and return the other one only if it is clearly faster."""
        started = time.monotonic()
        # The first run starts the threads and is not counted
        first = {threads: self._timed(threads) for threads in (now, other)}
        seconds = {now: 0.0, other: 0.0}
        if first[other] < _HOPELESS * first[now]:
            for _ in range(_ROUNDS):
                for threads in seconds:
                    seconds[threads] += self._timed(threads)
        best = other if seconds[other] < _GAIN * seconds[now] else now
        torch.set_num_threads(best)
        self._tried = time.monotonic()
        self._trial_seconds = self._tried - started
        return best

    def _timed(self, threads: int) -> float:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        self._work()
        return time.perf_counter() - started
