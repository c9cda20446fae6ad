"""How fast and how large a bundle is on this machine: what `tinylm bench` measures.

Each number of threads has a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.errors import ConfigError
from tinylm.manifest import Manifest, read_manifest
from tinylm.processors import usable_threads
from tinylm.runtime.device.machine import peak_rss_mb
from tinylm.runtime.device.subprocess_call import call
from tinylm.runtime.threads import CLEAR_GAIN, candidates, remember_threads

if TYPE_CHECKING:
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.session import Session

PROMPT = 128
"""Tokens of the prompt to the first token, and context of the decoding speed that is shown first."""

_REPEATS = 7
_LEAST_REPEATS = 3
_METRIC_SECONDS = 0.5
_BLOCK_SECONDS = 0.05
_DECODED = 32
_LOADS = 3
_SETTLE, _IDLE = 0.2, 1.0


def default_contexts(manifest: Manifest) -> list[int]:
    """Tokens in the cache to measure at: none, 128, half of the context, and nearly all, as they fit."""
    length = manifest.model.context_length
    last = length - min(PROMPT, length // 4)
    return sorted({0, min(PROMPT, length // 2), length // 2, last})


def benchmark(
    folder: Path,
    threads: Sequence[int] = (),
    contexts: Sequence[int] = (),
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure a bundle, and remember the best number of threads for chats if all were tried.

    Args:
        folder: the bundle.
        threads: numbers of threads; none: 1, 2, 4, … up to the cores.
        contexts: tokens in the cache; none: see `default_contexts`.
        progress: told the number of threads that is measured next.

    Returns:
        `load_s`, `time_to_first_token_s` (of `prompt_tokens` right after loading), `prefill_tokens_per_second` (at the
        shortest context), `decode_tokens_per_second` (at `context` tokens), `peak_rss_mb` (MiB, Python included) and
        `idle_cpu_percent` (of one core) of the best number of `threads`; and `by_threads`, which has them all.

    Raises:
        BundleError: the bundle is none, or cannot be run.
        ConfigError: a context that the bundle does not have.
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
        measured.append(call(f"{__name__}:measure", str(folder.absolute()), count, lengths))
    best = best_of(measured)
    if not threads:
        remember_threads(manifest, best["threads"])
    return {**{name: value for name, value in best.items() if name != "contexts"}, "by_threads": measured}


def best_of(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The measurement of the fewest threads than which no others are clearly faster at decoding."""
    best = measured[0]
    for other in measured[1:]:
        if other["decode_tokens_per_second"] >= CLEAR_GAIN * best["decode_tokens_per_second"]:
            best = other
    return best


def measure(folder: str, threads: int, contexts: Sequence[int]) -> dict[str, Any]:
    """Measure one number of threads, in this process.

    Args:
        folder: the bundle.
        threads: of onnxruntime.
        contexts: tokens in the cache, ascending.

    Returns:
        as `benchmark`, with `contexts`: prefill and decode of each.
    """
    model, load_s = _load(folder, threads)
    figures = _figures(model.session, contexts)
    peak = peak_rss_mb()
    idle = _idle_cpu_percent()
    # Another beside the first would have raised the peak
    del model
    loads = [load_s, *(_load(folder, threads)[1] for _ in range(_LOADS - 1))]
    main = min(figures["contexts"], key=lambda detail: abs(detail["context"] - figures["prompt_tokens"]))
    return {
        "load_s": round(statistics.median(loads), 4),
        "time_to_first_token_s": figures["time_to_first_token_s"],
        "prefill_tokens_per_second": figures["contexts"][0]["prefill_tokens_per_second"],
        "decode_tokens_per_second": main["decode_tokens_per_second"],
        "threads": threads,
        "peak_rss_mb": peak and round(peak, 1),
        "idle_cpu_percent": round(idle, 2),
        "prompt_tokens": figures["prompt_tokens"],
        "context": main["context"],
        "contexts": figures["contexts"],
    }


def _load(folder: str, threads: int) -> tuple[ChatModel, float]:
    """A bundle as a chat loads it, and the seconds that takes; imports are none of it."""
    from tinylm.runtime.chat_model import ChatModel

    started = time.perf_counter()
    return ChatModel(folder, threads=threads), time.perf_counter() - started


def _figures(session: Session, contexts: Sequence[int]) -> dict[str, Any]:
    """The time to the first token of a fresh session, and the speed at each context."""
    length = session.context_length
    ids = [(7 + 611 * number) % session.vocab_size for number in range(length)]
    prompt = ids[: min(PROMPT, length // 2)]
    started = time.perf_counter()
    logits = session.append(prompt)
    logits.argmax()
    first_token = time.perf_counter() - started

    def at(context: int) -> Callable[[], object]:
        def prepare() -> None:
            if session.length < context:
                session.append(ids[session.length : context])
            session.truncate(context)

        return prepare

    # From the longest down: the cache is filled once
    details = [_at_context(session.append, at(context), ids[context:], context) for context in reversed(contexts)]
    return {
        "time_to_first_token_s": round(first_token, 5),
        "prompt_tokens": len(prompt),
        "contexts": details[::-1],
    }


def _at_context(
    append: Callable[[Sequence[int]], object], prepare: Callable[[], object], ids: Sequence[int], context: int
) -> dict[str, Any]:
    """Prefill and decode after so many tokens."""

    def decode(count: int) -> None:
        for token in ids[:count]:
            append([token])

    prompt = ids[:PROMPT]
    step = min(_timed(prepare, lambda: decode(1)) for _ in range(2))
    count = max(1, min(_DECODED, len(ids), int(_BLOCK_SECONDS / step)))
    prefill = _median(prepare, lambda: append(prompt))
    return {
        "context": context,
        "prefill_tokens_per_second": round(len(prompt) / prefill, 2),
        "decode_tokens_per_second": round(count / _median(prepare, lambda: decode(count)), 2),
    }


def _median(prepare: Callable[[], object], work: Callable[[], object]) -> float:
    """Seconds that some work takes: the median of some repeats, of fewer where it is slow."""
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
    """What all threads of this process use of a core while nothing is asked of them."""
    time.sleep(_SETTLE)
    used, started = time.process_time(), time.perf_counter()
    time.sleep(_IDLE)
    return 100 * (time.process_time() - used) / (time.perf_counter() - started)
