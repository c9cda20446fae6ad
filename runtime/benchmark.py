"""Benchmark of a bundle: speed, memory and idle load on this machine, for `tinylm bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tinylm.errors import ConfigError
from tinylm.manifest import Manifest, read_manifest
from tinylm.processors import usable_threads
from tinylm.runtime.device.bandwidth import memory_bandwidth
from tinylm.runtime.device.machine import peak_rss_mb
from tinylm.runtime.device.memory import bytes_read
from tinylm.runtime.device.subprocess_call import call
from tinylm.runtime.threads import CLEAR_GAIN, candidates, remember_threads

if TYPE_CHECKING:
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.session import Session

PROMPT = 128
"""Tokens of the prompt for the time to the first token, and context of the main decoding speed, where they fit."""

_REPEATS = 7
_LEAST_REPEATS = 3
_METRIC_SECONDS = 0.5
_BLOCK_SECONDS = 0.05
_DECODED = 32
_LOADS = 3
_SETTLE, _IDLE = 0.2, 1.0


class ContextSpeed(msgspec.Struct, frozen=True):
    """Speed at one length of context.

    Attributes:
        context: tokens in the cache before those that are timed.
        prefill_tokens_per_second: of a prompt of `PROMPT` tokens, or as many as fit.
        decode_tokens_per_second: one token at a time.
    """

    context: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float


class BenchmarkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a bundle with one number of threads.

    Attributes:
        load_s: seconds to load the bundle, without imports: the median of some.
        time_to_first_token_s: seconds for a prompt of `prompt_tokens`, right after loading.
        prefill_tokens_per_second: at the shortest context.
        decode_tokens_per_second: at `context` tokens.
        threads: threads of onnxruntime.
        peak_rss_mb: peak resident memory in MiB, with Python; None where the system does not report it.
        idle_cpu_percent: CPU time of the idle process, in percent of one core.
        prompt_tokens: see above.
        context: see above.
        memory_gb_per_s: gigabytes a second that as many threads read from this machine's memory at best.
        read_gb_per_s: gigabytes of weights, keys and values a second that decoding reads; can be more than the former
            where the processor's caches hold them.
    """

    load_s: float
    time_to_first_token_s: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    threads: int
    peak_rss_mb: float | None
    idle_cpu_percent: float
    prompt_tokens: int
    context: int
    memory_gb_per_s: float
    read_gb_per_s: float


class ThreadsBenchmark(BenchmarkFigures, frozen=True, kw_only=True):
    """The same, with the speed at each context."""

    contexts: list[ContextSpeed]


class BundleBenchmark(BenchmarkFigures, frozen=True, kw_only=True):
    """The figures of the best number of threads, and those of all numbers."""

    by_threads: list[ThreadsBenchmark]


def default_contexts(manifest: Manifest) -> list[int]:
    """Lengths of context to measure at: 0, 128, half of the context and nearly all of it, as they fit."""
    length = manifest.model.context_length
    last = length - min(PROMPT, length // 4)
    return sorted({0, min(PROMPT, length // 2), length // 2, last})


def benchmark(
    folder: Path,
    threads: Sequence[int] = (),
    contexts: Sequence[int] = (),
    progress: Callable[[int], object] | None = None,
) -> BundleBenchmark:
    """Measure a bundle with each number of threads, in a subprocess of its own, so that its memory is measured alone.

    If `threads` is empty, the best number is remembered for chats.

    Args:
        folder: the bundle.
        threads: numbers of threads; empty: 1, 2, 4, … up to `usable_threads()`.
        contexts: tokens in the cache; empty: `default_contexts`.
        progress: called with the number of threads that is measured next.

    Raises:
        BundleError: the folder is not a bundle, or the bundle cannot be run.
        ConfigError: a context is too long for the bundle.
    """
    manifest = read_manifest(folder)
    lengths = sorted(set(contexts)) or default_contexts(manifest)
    if lengths[-1] >= manifest.model.context_length:
        raise ConfigError(
            f"context {lengths[-1]:,}: must be less than this bundle's {manifest.model.context_length:,} tokens"
        )
    counts = sorted(set(threads)) or candidates(usable_threads())
    measured = []
    for count in counts:
        if progress is not None:
            progress(count)
        result = call(f"{__name__}:measure", str(folder.absolute()), count, lengths)
        measured.append(msgspec.convert(result, ThreadsBenchmark))
    best = best_of(measured)
    if not threads:
        remember_threads(manifest, best.threads)
    figures = {name: getattr(best, name) for name in BenchmarkFigures.__struct_fields__}
    return BundleBenchmark(**figures, by_threads=measured)


def best_of(measured: Sequence[ThreadsBenchmark]) -> ThreadsBenchmark:
    """The fewest threads than which no larger number decodes clearly faster."""
    best = measured[0]
    for other in measured[1:]:
        if other.decode_tokens_per_second >= CLEAR_GAIN * best.decode_tokens_per_second:
            best = other
    return best


def measure(folder: str, threads: int, contexts: Sequence[int]) -> ThreadsBenchmark:
    """Measure one number of threads, in this process.

    Args:
        folder: the bundle.
        threads: threads of onnxruntime.
        contexts: tokens in the cache, ascending.
    """
    manifest = read_manifest(folder)
    model, load_s = _load(folder, threads)
    first_token_s, prompt_tokens = _first_token(model.session)
    speeds = _speeds(model.session, contexts)
    peak = peak_rss_mb()
    idle = _idle_cpu_percent()
    # A second model beside the first would have raised the peak
    del model
    loads = [load_s, *(_load(folder, threads)[1] for _ in range(_LOADS - 1))]
    bandwidth = memory_bandwidth(threads)
    main = min(speeds, key=lambda speed: abs(speed.context - prompt_tokens))
    return ThreadsBenchmark(
        load_s=round(statistics.median(loads), 4),
        time_to_first_token_s=round(first_token_s, 5),
        prefill_tokens_per_second=speeds[0].prefill_tokens_per_second,
        decode_tokens_per_second=main.decode_tokens_per_second,
        threads=threads,
        peak_rss_mb=peak and round(peak, 1),
        idle_cpu_percent=round(idle, 2),
        prompt_tokens=prompt_tokens,
        context=main.context,
        memory_gb_per_s=round(bandwidth, 2),
        read_gb_per_s=round(main.decode_tokens_per_second * bytes_read(manifest, main.context) / 1e9, 2),
        contexts=speeds,
    )


def _load(folder: str, threads: int) -> tuple[ChatModel, float]:
    """Load a bundle as a chat does; the model and the seconds that it took, without imports."""
    from tinylm.runtime.chat_model import ChatModel

    started = time.perf_counter()
    return ChatModel(folder, threads=threads), time.perf_counter() - started


def _token_ids(session: Session) -> list[int]:
    """Some token ids, as many as fit into the context."""
    return [(7 + 611 * number) % session.vocab_size for number in range(session.context_length)]


def _first_token(session: Session) -> tuple[float, int]:
    """Seconds to the first token of an unused session, and the number of tokens of the prompt."""
    prompt = _token_ids(session)[: min(PROMPT, session.context_length // 2)]
    started = time.perf_counter()
    session.append(prompt).argmax()
    return time.perf_counter() - started, len(prompt)


def _speeds(session: Session, contexts: Sequence[int]) -> list[ContextSpeed]:
    """The speed at each context."""
    ids = _token_ids(session)

    def at(context: int) -> Callable[[], object]:
        def prepare() -> None:
            if session.length < context:
                session.append(ids[session.length : context])
            session.truncate(context)

        return prepare

    # From the longest down, so that the cache is filled only once
    return [_speed_at(session.append, at(context), ids[context:], context) for context in reversed(contexts)][::-1]


def _speed_at(
    append: Callable[[Sequence[int]], object], prepare: Callable[[], object], ids: Sequence[int], context: int
) -> ContextSpeed:
    """Time prefill and decoding of `ids`; `prepare` sets the cache to `context` tokens before each repetition."""

    def decode(count: int) -> None:
        for token in ids[:count]:
            append([token])

    prompt = ids[:PROMPT]
    step = min(_timed(prepare, lambda: decode(1)) for _ in range(2))
    count = max(1, min(_DECODED, len(ids), int(_BLOCK_SECONDS / step)))
    prefill = _median(prepare, lambda: append(prompt))
    return ContextSpeed(
        context=context,
        prefill_tokens_per_second=round(len(prompt) / prefill, 2),
        decode_tokens_per_second=round(count / _median(prepare, lambda: decode(count)), 2),
    )


def _median(prepare: Callable[[], object], work: Callable[[], object]) -> float:
    """Median of the seconds that `work` takes, over fewer repetitions where it is slow."""
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < _LEAST_REPEATS or sum(times) < _METRIC_SECONDS):
        times.append(_timed(prepare, work))
    return statistics.median(times)


def _timed(prepare: Callable[[], object], work: Callable[[], object]) -> float:
    prepare()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _idle_cpu_percent() -> float:
    """CPU time of all threads of this process while it is idle, in percent of one core."""
    time.sleep(_SETTLE)
    used, started = time.process_time(), time.perf_counter()
    time.sleep(_IDLE)
    return 100 * (time.process_time() - used) / (time.perf_counter() - started)
