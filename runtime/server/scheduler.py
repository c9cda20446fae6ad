"""Generates many replies at a time: a bounded queue, and short turns on a thread for each core.

Each sequence is computed in calls of its own, so that no reply depends on what else is generated. onnxruntime releases
the interpreter lock while it computes, so several threads use several cores. Computing several sequences in one call
would be faster only for very many streams, and slower for one: rows are independent of each other, bit for bit, in the
graph for many tokens, but not in the faster graph for one. `python benchmarks/serve.py --only turns_over_batch`
compares the two.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tinylm.errors import ConfigError, TinyLMError
from tinylm.runtime.generation import Generation
from tinylm.runtime.logprobs import TokenLogprob
from tinylm.runtime.sampling import TokenSampler
from tinylm.runtime.server.caches import Cache, CachePool, OutOfMemoryError
from tinylm.runtime.server.errors import ApiError, busy, client_left, internal_error, invalid, no_memory, shutting_down
from tinylm.runtime.server.replies import Job
from tinylm.runtime.session import LoadedModel

log = logging.getLogger("tinylm.serve")

TURN_S = 0.01
"""A turn is as many tokens as the thread computes in this time, and at least one, or one chunk of a prompt. The first
tokens of a turn cost more, until the sequence's keys and values are in the processor's caches: with 16 sequences of
shape S, a token takes a fifth more processor time than with one in turns of 5 ms, a tenth in 10, a thirtieth in 20.
While other programs have the core the time stands still, so that every reply gets as much of each round."""

_LONGEST_RETRY = 60
_JOIN_S = 30.0


@dataclass
class ActiveReply:
    """A reply that is being generated."""

    job: Job
    cache: Cache
    generation: Generation
    sent_logprobs: int = 0
    began: float = field(default_factory=time.monotonic)
    steps: Generator[str, None, None] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self.generation.steps()


class Scheduler:
    """Generates replies in threads of its own.

    Args:
        caches: of all models.
        workers: threads that generate; each takes as many CPU threads as a model's session has.
        parallel: replies that take turns, at most; the caches may hold fewer.
        queue: requests that wait, at most.
    """

    def __init__(self, caches: CachePool, workers: int, parallel: int, queue: int) -> None:
        self._caches = caches
        self._parallel, self._queue = parallel, queue
        # The jobs of each request that wait
        self._waiting: deque[deque[Job]] = deque()
        self._turns: deque[ActiveReply] = deque()
        self._active = 0
        self._closed = self._stopping = False
        self._durations: deque[float] = deque([1.0], maxlen=32)
        # When the last replies began, since the scheduler was idle
        self._begun: deque[float] = deque(maxlen=32)
        self._ready = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"worker {number}", daemon=True) for number in range(workers)
        ]
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

    @property
    def broken(self) -> bool:
        """Whether a thread has ended that should not have."""
        return not self._stopping and not all(thread.is_alive() for thread in self._threads)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put a request's jobs into the queue.

        Raises:
            ApiError: the queue is full, or the server is shutting down.
        """
        with self._ready:
            if self._closed:
                raise shutting_down()
            room = min(self._parallel - self._active, self._caches.room_for(jobs[0].task.model.weights))
            if len(self._waiting) >= self._queue + room:
                raise busy(len(self._waiting), self._retry_after())
            if not self._waiting and not self._active:
                self._begun.clear()
            self._waiting.append(deque(jobs))
            self._ready.notify(len(jobs))

    def cancel(self, jobs: Sequence[Job]) -> None:
        """End a request's jobs, at the latest after the token or chunk that is being computed."""
        with self._ready:
            for job in jobs:
                job.cancelled = job.cancelled or job.ended is None
            for batch in [batch for batch in self._waiting if any(job.cancelled for job in batch)]:
                self._waiting.remove(batch)
                for job in batch:
                    job.end(None, client_left())

    def drop_model(self, model: LoadedModel) -> None:
        """Free the caches of a model that is served no more."""
        with self._ready:
            self._caches.drop_model(model)

    def close(self) -> None:
        """Take no more requests; those that wait are refused, those that are being answered go on."""
        with self._ready:
            self._closed = True
            while self._waiting:
                for job in self._waiting.popleft():
                    job.end(None, shutting_down())

    def stop(self) -> None:
        """End every reply where it is, and the threads."""
        self.close()
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        while self._turns:  # left by threads that had ended before
            self._turns.popleft().job.end(None, shutting_down())

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            done = self._take_turn(turn)
            with self._ready:
                if done:
                    self._active -= 1
                    self._give_back(turn)
                    self._durations.append(time.monotonic() - turn.began)
                else:
                    self._turns.append(turn)
                # This thread takes the first of them itself; waking another costs as much as a token
                if len(self._waiting) + len(self._turns) > 1:
                    self._ready.notify()
            if done:
                self._end(turn)

    def _take_turn(self, turn: ActiveReply) -> bool:
        """Go on for `TURN_S`.

        To send the text of each token costs as much as a part of computing it. So while other replies wait for their
        turns, the text of a turn is sent as a whole.

        Returns:
            whether the reply is over.
        """
        until = time.thread_time() + TURN_S
        while not (done := self._step(turn)) and time.thread_time() < until:
            if not self._turns:
                turn.job.announce()
        if not done:
            turn.job.announce()
        return done

    def _next(self) -> ActiveReply | None:
        """The next turn, waiting for one; None when the scheduler stops."""
        with self._ready:
            while True:
                self._refuse_late_ones()
                if (job := self._next_waiting()) is not None:
                    if (turn := self._begin(job)) is not None:
                        return turn
                    continue
                if self._turns:
                    return self._turns.popleft()
                if self._stopping:
                    return None
                self._ready.wait()

    def _next_waiting(self) -> Job | None:
        """The next job to begin, if there is one and room for it. Requests for several replies take turns in this."""
        if not self._waiting or self._active >= self._parallel:
            return None
        batch = self._waiting[0]
        if not self._caches.room_for(batch[0].task.model.weights):
            return None
        job = batch.popleft()
        self._waiting.popleft()
        if batch:
            self._waiting.append(batch)
        return job

    def _begin(self, job: Job) -> ActiveReply | None:
        """Begin a job; None where it has to wait for memory, or cannot be done and has ended with an error."""
        task = job.task
        try:
            cache = self._caches.take(task.model.weights, task.prompt)
        except OutOfMemoryError:
            if self._active:
                self._waiting.appendleft(deque([job]))
            else:
                job.end(None, no_memory())
            return None
        except Exception:
            log.exception("A reply could not be begun.")
            job.end(None, internal_error())
            return None
        try:
            tokenizer = task.model.tokenizer
            sampler = TokenSampler.of(tokenizer, task.options)
            generation = Generation(cache, tokenizer, task.prompt, sampler, lambda: self._is_over(job), job.recorder)
            turn = ActiveReply(job, cache, generation)
        except Exception:
            log.exception("A reply could not be begun.")
            self._caches.give_back(cache, 0)
            job.end(None, internal_error())
            return None
        self._active += 1
        self._begun.append(turn.began)
        job.start()
        return turn

    def _is_over(self, job: Job) -> bool:
        if time.monotonic() > job.deadline:
            job.out_of_time = True
        return job.cancelled or self._stopping or job.out_of_time

    def _step(self, turn: ActiveReply) -> bool:
        """Go on by a token or a chunk of the prompt.

        Returns:
            whether that was the last.
        """
        try:
            piece = next(turn.steps)
        except StopIteration:
            return True
        except ConfigError as error:  # what was asked for cannot be done, as a schema that is too large
            turn.job.error = invalid(str(error))
            return True
        except TinyLMError as error:
            turn.job.error = ApiError(500, str(error), "generation_failed")
            return True
        except Exception:
            log.exception("A reply could not be generated.")
            turn.job.error = internal_error()
            return True
        if piece:
            turn.job.put(piece, self._new_logprobs(turn))
        return False

    def _new_logprobs(self, turn: ActiveReply) -> Sequence[TokenLogprob]:
        if turn.job.recorder is None:
            return ()
        certain = turn.generation.certain_logprobs
        new = certain[turn.sent_logprobs :]
        turn.sent_logprobs = len(certain)
        return new

    def _give_back(self, turn: ActiveReply) -> None:
        if turn.job.error is not None:
            self._caches.drop(turn.cache)
        # A scored prompt was not computed in chunks
        self._caches.give_back(turn.cache, 0 if turn.job.task.score_prompt else len(turn.job.task.prompt))

    def _end(self, turn: ActiveReply) -> None:
        job = turn.job
        if job.error is None and self._stopping and not job.cancelled:
            job.error = shutting_down()
        if job.error is None and job.out_of_time and job.task.score_prompt:
            job.error = ApiError(503, "the time limit came before the prompt was scored", "time_limit", retry_after=1)
        if job.error is not None:
            job.end(None, job.error)
            return
        if rest := self._new_logprobs(turn):
            job.put("", rest)
        job.end(turn.generation.result)

    def _refuse_late_ones(self) -> None:
        """Refuse the requests that have waited as long as they may take in all."""
        if not self._waiting:
            return
        now = time.monotonic()
        for batch in [batch for batch in self._waiting if batch[0].deadline < now]:
            self._waiting.remove(batch)
            for job in batch:
                job.end(None, busy(len(self._waiting), self._retry_after()))

    def _retry_after(self) -> int:
        pace = (time.monotonic() - self._begun[0]) / len(self._begun) if self._begun else 0.0
        return retry_after(len(self._waiting), self._active, fmean(self._durations), pace)


def retry_after(waiting: int, active: int, duration: float, pace: float) -> int:
    """Seconds until about half of a queue has begun, from 1 to 60.

    Replies whose clients leave at once take no time, and yet nobody begins while the others go on: of two estimates, by
    how long replies took and by how they began, the longer counts.

    Args:
        waiting: requests in the queue.
        active: replies that are being generated.
        duration: seconds that the last replies took, on average.
        pace: seconds from the begin of a reply to the next one's, on average, until now.
    """
    seconds = max(duration * (1 + waiting / max(1, active)), pace * waiting) / 2
    return max(1, min(_LONGEST_RETRY, round(seconds)))
