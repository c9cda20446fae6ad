"""A process for each system that is measured, so that memory and thread pools are its own."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Any, TypeVar

from loops import PROMPT, Loop, Metric, tokens_for

from tinylm.config import ModelConfig

Result = TypeVar("Result")

_system: Any = None


class Worker:
    """A process that does one thing at a time."""

    def __init__(self) -> None:
        # Not forked: a child must not inherit memory or threads
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function of a module there, and wait for what it returns or raises."""
        return self._pool.submit(function, *arguments).result()


def load(kind: str, path: Path, config: ModelConfig, threads: int, options: dict[str, Any]) -> dict[str, float]:
    """Make this process the one of a system.

    Args:
        kind: its class, as module:name.
        path: of the model.
        config: its shape.
        threads: of the runtime.
        options: of this system alone.

    Returns:
        `load_s`, and `time_to_first_token_s`: of a prompt of 128 tokens right after loading, up to its logits. Neither
        for a program that loads anew for each measurement.
    """
    global _system
    make = resolve_name(kind)  # imports the runtime, which is no part of loading the model
    started = time.perf_counter()
    _system = make(path, config, threads, **options)
    loaded = time.perf_counter()
    if not isinstance(_system, Loop):
        return {}
    _system.prefill(tokens_for(PROMPT.tokens, _system.vocab_size))
    return {"load_s": loaded - started, "time_to_first_token_s": time.perf_counter() - loaded}


def seconds(metric: Metric) -> float:
    """Measure this process's system once."""
    taken: float = _system.seconds(metric)
    return taken


def peak_rss_mb() -> float:
    """The most memory that this process ever had resident, Python and its packages included."""
    if Path("/proc/self/status").exists():  # rusage would count the parent's memory from before exec as well
        return memory_mb("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def memory_mb(kind: str, process: int | str = "self") -> float:
    """Memory of a process, in MiB, as Linux counts it.

    Args:
        kind: VmRSS (resident now) or VmHWM (the most that ever was).
        process: its id.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1]) / 1024
