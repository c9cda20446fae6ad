"""The number of threads with which a bundle is fastest on this machine: measured once and remembered."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tinylm.errors import TinyLMError
from tinylm.manifest import MODEL_FILE, Manifest, read_manifest
from tinylm.processors import usable_threads
from tinylm.runtime.device.machine import cpu_name
from tinylm.runtime.device.subprocess_call import call, python_can_start
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import Session, decode_file, default_threads
from tinylm.user_cache import is_writable, recall, remember

CLEAR_GAIN = 1.05
"""How many times as fast more threads must be, as they take cores from other programs and need more power."""

_ONE_THREAD_BYTES = 3_000_000
"""Smaller models are fastest with one thread (measured with 2.1 MB: 0.14 ms a token, with two threads 0.24)."""

_WARM_SECONDS, _PAIR_SECONDS = 0.05, 0.25
_BLOCK_SECONDS = 0.004
_LEAST_ROUNDS = 5
_CONTEXT = 64
_TIMEOUT = 60.0
_KIND = "threads"


def best_threads(folder: Path, manifest: Manifest) -> int:
    """The number of threads for a bundle: the remembered one, or a measured one where it can matter.

    Measuring takes part of a second on a PC, once. A subprocess does it, so that its memory is given back; where no
    Python interpreter can be started, as in a frozen program, the model's size decides.
    """
    cores = usable_threads()
    size = manifest.model_bytes
    known = _remembered(manifest, cores)
    if known is not None or cores == 1:
        return known or 1
    if size < _ONE_THREAD_BYTES:
        return 1
    guess = min(cores, default_threads(size))
    if not is_writable() or not python_can_start():
        return guess
    try:
        threads = int(call(f"{__name__}:measure_threads", str(folder.absolute()), candidates(cores), timeout=_TIMEOUT))
    except TinyLMError:
        threads = guess  # remembered too, or each start would try again
    remember_threads(manifest, threads)
    return threads


def remember_threads(manifest: Manifest, threads: int) -> None:
    """Store the number of threads for chats with these files on this machine."""
    remember(_KIND, _key(manifest, usable_threads()), str(threads))


def candidates(cores: int) -> list[int]:
    """Numbers of threads to try: 1, 2, 4, … and `cores`."""
    powers = [2**n for n in range(cores.bit_length()) if 2**n <= cores]
    return powers if powers[-1] == cores else [*powers, cores]


def measure_threads(folder: str, counts: Sequence[int]) -> int:
    """The fastest number of threads for decoding.

    Args:
        folder: a bundle.
        counts: numbers of threads to try, ascending.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    # Without the graph for prompts: decoding takes most of the time, and memory may be scarce
    graph = path / (decode_file(manifest.graph.decode) or MODEL_FILE)
    return climb(counts, lambda threads: _stepper(Session(graph, manifest.model, threads)))


def climb(counts: Sequence[int], load: Callable[[int], Callable[[], object]]) -> int:
    """The largest number of threads up to which each step is clearly faster than the one before.

    Only two models are loaded at a time, and numbers beyond the first step without gain are not tried.

    Args:
        counts: numbers of threads, ascending.
        load: loads a model with a number of threads, and returns a function that decodes a token.
    """
    best, step = counts[0], load(counts[0])
    for threads in counts[1:]:
        more = load(threads)
        if speed_ratio(step, more) < CLEAR_GAIN:
            break
        best, step = threads, more
    return best


def speed_ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times as fast `other` is as `one`.

    They run in turns, and the first quartiles of their times are compared: other programs slow both, and only ever add
    time.
    """
    warm = time.perf_counter() + _WARM_SECONDS
    one()
    other()
    while time.perf_counter() < warm:
        one()
        other()
    block = max(1, min(16, int(_BLOCK_SECONDS / max(_seconds(one, 1), 1e-9))))
    times: dict[Callable[[], object], list[float]] = {one: [], other: []}
    deadline = time.perf_counter() + _PAIR_SECONDS
    rounds = 0
    while rounds < _LEAST_ROUNDS or time.perf_counter() < deadline:
        # In alternating order, so that neither profits from its position
        for step in (one, other) if rounds % 2 else (other, one):
            times[step].append(_seconds(step, block))
        rounds += 1
    quartiles = {step: statistics.quantiles(taken, n=4)[0] for step, taken in times.items()}
    return quartiles[one] / quartiles[other]


def _seconds(step: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - started


def _stepper(session: Session) -> Callable[[], object]:
    def step() -> None:
        if session.length == min(_CONTEXT, session.context_length):
            session.truncate(0)
        session.append([session.length % session.vocab_size])

    return step


def _remembered(manifest: Manifest, cores: int) -> int | None:
    text = recall(_KIND, _key(manifest, cores)) or ""
    return int(text) if text.isdecimal() and 1 <= int(text) <= cores else None


def _key(manifest: Manifest, cores: int) -> str:
    files = {name: entry.sha256 for name, entry in sorted(manifest.files.items())}
    facts = [files, cpu_name(), cores, onnxruntime.__version__]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
