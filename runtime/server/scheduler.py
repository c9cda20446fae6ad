"""Many replies on one model: a bounded queue, and short turns.

A sequence is computed by itself in every call, so that no reply can depend on what else is there; what several cores
give is a worker's thread for each, as onnxruntime leaves the interpreter to others while it computes. Several sequences
in one call would be faster with very many streams only, and a single one then slower: rows are independent of each
other, bit for bit, in the graph for many tokens, but not those of the faster graph for one.
`python benchmarks/serve.py --only turns_over_batch` compares the two.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from statistics import fmean

from tinylm.errors import TinyLMError
from tinylm.runtime.generation import Generation
from tinylm.runtime.sampling import TokenSampler
from tinylm.runtime.server.caches import Cache, CachePool
from tinylm.runtime.server.errors import ApiError, busy, shutting_down
from tinylm.runtime.server.replies import Job
from tinylm.tokenizer import Tokenizer

log = logging.getLogger(__name__)

TURN_S = 0.005
"""A turn is as many tokens as fit into this time, and one at least, or chunk of a prompt: what a small model's sequence
has in the processor's caches it need not read anew for every token."""

_LONGEST_RETRY = 60


@dataclass
class Turn:
    """A reply that is being generated."""

    job: Job
    cache: Cache
    generation: Generation
    began: float = field(default_factory=time.monotonic)
    steps: Generator[str, None, None] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self.generation.steps()


class Scheduler:
    """Generates replies in threads of its own.

    Args:
        caches: of the model.
        tokenizer: of the model.
        workers: threads that generate; each takes as many CPU threads as the session has.
        parallel: replies that take turns, at most; caches may be fewer.
        queue: requests that wait, at most.
    """

    def __init__(self, caches: CachePool, tokenizer: Tokenizer, workers: int, parallel: int, queue: int) -> None:
        self._caches, self._tokenizer = caches, tokenizer
        self._parallel, self._queue = parallel, queue
        self._waiting: deque[Job] = deque()
        self._turns: deque[Turn] = deque()
        self._active = 0
        self._closed = self._stopping = False
        self._durations: deque[float] = deque([1.0], maxlen=32)
        self._ready = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name=f"worker {number}") for number in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def active(self) -> int:
        """Replies that are being generated."""
        return self._active

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether no more requests are taken."""
        return self._closed

    def submit(self, job: Job) -> None:
        """Put a request into the queue.

        Raises:
            ApiError: the queue is full, or the server is shutting down.
        """
        with self._ready:
            if self._closed:
                raise shutting_down()
            if len(self._waiting) >= self._queue + self._room():
                raise busy(len(self._waiting), self._retry_after())
            self._waiting.append(job)
            self._ready.notify()

    def cancel(self, job: Job) -> None:
        """End a request, at the latest after the token or chunk that is being computed."""
        with self._ready:
            if job.ended is not None:
                return
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.end(None, ApiError(499, "the client has left", "cancelled"))

    def close(self) -> None:
        """Take no more requests; those that wait are told so, those that are being answered go on."""
        with self._ready:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().end(None, shutting_down())

    def stop(self) -> None:
        """End every reply where it is, and the threads."""
        self.close()
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            until = time.monotonic() + TURN_S
            done = self._step(turn)
            while not done and time.monotonic() < until:
                done = self._step(turn)
            with self._ready:
                if done:
                    self._active -= 1
                    self._caches.give_back(turn.cache, len(turn.job.prompt))
                    self._durations.append(time.monotonic() - turn.began)
                else:
                    self._turns.append(turn)
                # The first of them is this thread's own: handing it over would cost as much as a token
                if len(self._waiting) + len(self._turns) > 1:
                    self._ready.notify()
            if done:
                self._end(turn)

    def _next(self) -> Turn | None:
        """Whose turn it is, waiting for one; None when all is over."""
        with self._ready:
            while True:
                self._refuse_late_ones()
                if self._waiting and self._room():
                    return self._begin(self._waiting.popleft())
                if self._turns:
                    return self._turns.popleft()
                if self._stopping:
                    return None
                self._ready.wait()

    def _room(self) -> int:
        """How many more may begin."""
        return min(self._parallel - self._active, self._caches.free)

    def _begin(self, job: Job) -> Turn:
        cache = self._caches.take(job.prompt)
        tokenizer = self._tokenizer
        sampler = TokenSampler.of(tokenizer, job.options)
        generation = Generation(cache, tokenizer, job.prompt, sampler, lambda: self._is_over(job))
        self._active += 1
        job.start()
        return Turn(job, cache, generation)

    def _is_over(self, job: Job) -> bool:
        if time.monotonic() > job.deadline:
            job.out_of_time = True
        return job.cancelled or self._stopping or job.out_of_time

    def _step(self, turn: Turn) -> bool:
        """Go on by a token or a chunk of the prompt.

        Returns:
            whether that was the last.
        """
        try:
            piece = next(turn.steps)
        except StopIteration:
            return True
        except TinyLMError as error:
            turn.job.error = ApiError(500, str(error), "generation_failed")
            return True
        except Exception:
            log.exception("a reply could not be generated")
            turn.job.error = ApiError(500, "the reply could not be generated", "internal_error")
            return True
        if piece:
            turn.job.put(piece)
        return False

    def _end(self, turn: Turn) -> None:
        job = turn.job
        if job.error is None and self._stopping and not job.cancelled:
            job.error = shutting_down()
        job.end(None if job.error else turn.generation.result, job.error)

    def _refuse_late_ones(self) -> None:
        """Those that have waited as long as they may take."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].deadline < now:
            self._waiting.popleft().end(None, busy(len(self._waiting), self._retry_after()))

    def _retry_after(self) -> int:
        """Seconds until about half of the queue has its turn, if replies take as long as the last ones did."""
        seconds = fmean(self._durations) * (1 + len(self._waiting) / max(1, self._active)) / 2
        return max(1, min(_LONGEST_RETRY, round(seconds)))
