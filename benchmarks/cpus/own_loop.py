"""Time of prefill and decode in TinyLM's runtime, one thread: `python own_loop.py JOB`, on a CPU's Python.

JOB is a `LoopJob` as JSON. Each line on standard input asks for a round: the prompt into an empty cache, more tokens up
to the context, one token to warm up, and the tokens one by one. Each answer is a `Round` as a line of JSON. Times are
the processor's, which other programs hardly change.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from tinylm.config import ModelConfig
from tinylm.manifest import DECODE_FILES, MODEL_FILE
from tinylm.runtime.session import Session, decode_file


class LoopJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        folder: of the model's graphs.
        config: the model's shape.
        prompt: tokens of the prompt.
        context: tokens in the cache before those that are decoded.
        tokens: tokens to decode.
    """

    folder: str
    config: ModelConfig
    prompt: int
    context: int
    tokens: int


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What a round took.

    Attributes:
        prefill_ms: milliseconds of the prompt.
        decode_ms: of each token.
        prefill_graph_ms, decode_graph_ms: of these, what onnxruntime took; llama.cpp's loop tells none.
    """

    prefill_ms: float
    decode_ms: list[float]
    prefill_graph_ms: float | None = None
    decode_graph_ms: list[float] | None = None


class TimedGraph:
    """A session of onnxruntime that adds up the time of its runs."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self.seconds = 0.0

    def run_with_iobinding(self, binding: Any) -> None:
        """Run the graph."""
        started = time.process_time()
        self._graph.run_with_iobinding(binding)
        self.seconds += time.process_time() - started


class OwnLoop:
    """A sequence in the runtime, with the graphs that it chooses on this CPU."""

    def __init__(self, job: LoopJob) -> None:
        folder = Path(job.folder)
        decode = decode_file({cpu: name for cpu, name in DECODE_FILES.items() if (folder / name).exists()})
        self._session = Session(folder / MODEL_FILE, job.config, 1, folder / decode if decode else None)
        model: Any = self._session.model
        self._graphs = TimedGraph(model.graph), TimedGraph(model.decode_graph)
        model.graph, model.decode_graph = self._graphs
        self._job = job

    def round(self) -> Round:
        """Measure once."""
        job = self._job
        self._session.truncate(0)
        prefill_ms, prefill_graph_ms = self._append(job.prompt)
        if job.context > job.prompt:
            self._append(job.context - job.prompt)
        self._append(1)
        decode = [self._append(1) for _ in range(job.tokens)]
        return Round(
            prefill_ms=prefill_ms,
            decode_ms=[total for total, _ in decode],
            prefill_graph_ms=prefill_graph_ms,
            decode_graph_ms=[graph for _, graph in decode],
        )

    def _append(self, count: int) -> tuple[float, float]:
        """Append tokens, and return the milliseconds of that, all and onnxruntime's."""
        length = self._session.length
        ids = [(7 + 611 * place) % self._session.vocab_size for place in range(length, length + count)]
        before = sum(graph.seconds for graph in self._graphs)
        started = time.process_time()
        self._session.append(ids)
        total = time.process_time() - started
        return 1000 * total, 1000 * (sum(graph.seconds for graph in self._graphs) - before)


def main() -> None:
    """Answer until the input ends."""
    loop = OwnLoop(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoopJob))
    for _ in sys.stdin:
        print(msgspec.json.encode(loop.round()).decode(), flush=True)


if __name__ == "__main__":
    main()
