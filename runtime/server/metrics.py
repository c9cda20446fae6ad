"""Metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.replies import Job
from tinylm.runtime.server.scheduler import Scheduler

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts since the start of the server.

    Args:
        scheduler: whose queue is shown.
        caches: whose memory is shown.
    """

    def __init__(self, scheduler: Scheduler, caches: CachePool) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("tinylm_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._prompt = Counter("tinylm_prompt_tokens", "Tokens of prompts.", registry=registry)
        self._reused = Counter("tinylm_reused_tokens", "Of those, found in a KV cache.", registry=registry)
        self._generated = Counter("tinylm_completion_tokens", "Tokens generated.", registry=registry)
        self._cancelled = Counter("tinylm_cancelled", "Replies whose client left.", registry=registry)
        self._waited = Histogram("tinylm_queue_seconds", "Time in the queue.", buckets=_SECONDS, registry=registry)
        self._first = Histogram(
            "tinylm_first_text_seconds", "From the request to the first text.", buckets=_SECONDS, registry=registry
        )
        self._whole = Histogram(
            "tinylm_reply_seconds", "From the request to the end of the reply.", buckets=_SECONDS, registry=registry
        )
        for name, text, value in (
            ("active", "Replies that are being generated.", lambda: scheduler.active),
            ("waiting", "Requests in the queue.", lambda: scheduler.waiting),
            ("cache_bytes", "Memory of all KV caches.", lambda: caches.used_bytes),
        ):
            Gauge(f"tinylm_{name}", text, registry=registry).set_function(value)

    def answered(self, path: str, status: int) -> None:
        """Count a request that has been answered."""
        self._requests.labels(path, str(status)).inc()

    def replied(self, job: Job) -> None:
        """Count a reply that has ended."""
        if job.cancelled:
            self._cancelled.inc()
        if job.started is not None:
            self._waited.observe(job.started - job.created)
        if job.first_piece is not None:
            self._first.observe(job.first_piece - job.created)
        if job.ended is not None:
            self._whole.observe(job.ended - job.created)
        if job.result is not None:
            self._prompt.inc(job.result.prompt_tokens)
            self._reused.inc(job.result.reused_tokens)
            self._generated.inc(job.result.completion_tokens)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
