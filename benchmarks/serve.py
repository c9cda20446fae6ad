"""`tinylm serve` under load, on this machine's loopback: `python benchmarks/serve.py`; see benchmarks/README.md.

Clients have a process of their own. Prints a table, and one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import conversations
from batching import compare
from chat import Values, call, write_model
from commands import TINYLM
from load import stream_for, torment
from report import rounded
from rich.console import Console
from rich.table import Table
from shapes import SHAPES
from workers import Worker, memory_mb

from tinylm.errors import TinyLMError

STREAMS = 16
_PROMPT, _REPLY = 100, 128
_WHOLE_REPLY = 256
_AROUND = 3
"""Tokens that a chat puts around a message."""
_REPEATS = 7
_KEPT = {"PATH", "XDG_CACHE_HOME", "HOME", "LANG"}


class Server:
    """`tinylm serve` in a process of its own.

    Args:
        bundle: that is served.
        options: of the command.
    """

    def __init__(self, bundle: Path, *options: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name in _KEPT}
        command = [TINYLM, "serve", str(bundle), "--port", "0", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise TinyLMError(f"tinylm serve: {line}")
        self.port = int(found[1])

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    def rss_mb(self) -> float:
        """Memory resident."""
        return memory_mb("VmRSS", self._process.pid)

    def cpu_s(self) -> float:
        """Processor time that it has taken so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name: str) -> float:
        """A figure of its own."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^tinylm_{name} (\S+)$", text, re.MULTILINE))


@dataclass(frozen=True)
class Run:
    """How much is done.

    Attributes:
        bundle: shape S, int8, random weights; its replies do not end by themselves.
        seconds: of the load by many streams.
        vanishing, slow, malformed: bad clients.
    """

    bundle: Path
    seconds: float
    vanishing: int
    slow: int
    malformed: int


def load(run: Run) -> Values:
    """16 streams at a time, and one."""
    message = conversations.message(_PROMPT)
    with Server(run.bundle) as server, Worker() as clients:

        def stream(count: int, seconds: float) -> list[float]:
            began = server.cpu_s()
            done = clients.call(stream_for, server.port, count, seconds, message, _REPLY)
            cpu_us = 1e6 * (server.cpu_s() - began) / max(1, sum(one.tokens for one in done.streams))
            return [done.tokens_per_second, cpu_us, done.failed, *sorted(one.seconds for one in done.streams)]

        stream(STREAMS, min(20.0, run.seconds / 4))
        before = server.rss_mb()
        alone = [stream(1, run.seconds / 20)[:2]]
        many, cpu_us, failed, *times = stream(STREAMS, run.seconds)
        alone.append(stream(1, run.seconds / 20)[:2])
        after = server.rss_mb()
    speed, cpu_us_alone = (statistics.mean(values) for values in zip(*alone, strict=True))
    return {
        "failed": failed,
        "slowest_over_median": times[-1] / statistics.median(times),
        "rss_growth_mb": after - before,
        "aggregate_ratio_16": many / speed,
        "streams": len(times),
        "tokens_per_second_16": many,
        "tokens_per_second_1": speed,
        # Of the server alone: what else the machine does changes them little
        "cpu_us_a_token_16": cpu_us,
        "cpu_us_a_token_1": cpu_us_alone,
        "median_s": statistics.median(times),
        "slowest_s": times[-1],
        "rss_mb": after,
    }


def http_over_bench(run: Run) -> Values:
    """A reply through streaming HTTP, from the request to its end, over what `tinylm bench` says of it, in turns."""
    prompt = _WHOLE_REPLY // 2
    message = conversations.message(prompt - _AROUND)
    bench: list[float] = []
    http: list[float] = []
    with Server(run.bundle, "--threads", "1") as server, Worker() as clients:
        for _ in range(_REPEATS):
            # The middle of the reply is at this context
            command = [TINYLM, "bench", str(run.bundle), "--threads", "1", "--context", str(_WHOLE_REPLY), "--json"]
            measured = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            bench.append(
                prompt / measured["prefill_tokens_per_second"] + _WHOLE_REPLY / measured["decode_tokens_per_second"]
            )
            done = clients.call(stream_for, server.port, 1, 0.5, message, _WHOLE_REPLY)
            http += [one.seconds for one in done.streams if one.ok]
    # The lower quartiles: what else the machine does only ever adds to them
    bench_s, http_s = (statistics.quantiles(times, n=4)[0] for times in (bench, http))
    return {
        "http_over_bench": bench_s / http_s,
        "http_tokens_per_second": _WHOLE_REPLY / http_s,
        "bench_tokens_per_second": _WHOLE_REPLY / bench_s,
    }


def torment_survived(run: Run) -> Values:
    """Bad clients of all kinds, and a good one all the while."""
    message = conversations.message(_PROMPT)
    # Few caches: all of them have been full before memory is looked at
    with Server(run.bundle, "--cache-memory", "60") as server, Worker() as clients:
        clients.call(stream_for, server.port, 8, 5, message, 900)
        clients.call(torment, server.port, 50, 8, 100, message)
        before = server.rss_mb()
        done = clients.call(torment, server.port, run.vanishing, run.slow, run.malformed, message)
        clients.call(stream_for, server.port, 1, 0.1, message, 8)
        after = server.rss_mb()
        left = server.metric("active") + server.metric("waiting")
    return {
        "well_behaved_failed": done.failed,
        "well_behaved_streams": len(done.streams),
        "well_behaved_slowest_s": max(stream.seconds for stream in done.streams),
        "malformed_5xx": sum(count for status, count in done.statuses.items() if status >= 500),
        **{f"malformed_{status or 'unanswered'}": count for status, count in sorted(done.statuses.items())},
        "leaked_slots": left,
        "torment_rss_growth_mb": after - before,
        "torment_s": done.seconds,
    }


def turns_over_batch(run: Run) -> Values:
    """Decoding by turns against one call for all."""
    return dict(call(compare, run.bundle, (1, 4, 16)))


MEASURES: dict[str, Callable[[Run], Values]] = {
    measure.__name__: measure for measure in (http_over_bench, turns_over_batch, torment_survived, load)
}
TARGETS = {
    "failed": "<= 0",
    "slowest_over_median": "<= 2",
    "rss_growth_mb": "<= 10",
    "aggregate_ratio_16": ">= 1.5",
    "http_over_bench": ">= 0.85",
    "well_behaved_failed": "<= 0",
    "malformed_5xx": "<= 0",
    "leaked_slots": "<= 0",
}


def print_table(figures: Values) -> None:
    """What was measured, beside its target, for people."""
    table = Table(title="tinylm serve", title_justify="left", title_style="bold")
    for heading in ("figure", "measured", "target"):
        table.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    for name, value in figures.items():
        target = TARGETS.get(name, "")
        table.add_row(name, f"{value:,.4g}", target, style="bold" if target else None)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME", help=f"of {', '.join(MEASURES)}"
    )
    parser.add_argument("--seconds", type=float, default=300, help="of the load by 16 streams (default: 300)")
    parser.add_argument("--vanishing", type=int, default=1000, metavar="N", help="clients that leave (default: 1000)")
    parser.add_argument("--slow", type=int, default=200, metavar="N", help="clients that are slow (default: 200)")
    parser.add_argument("--malformed", type=int, default=10_000, metavar="N", help="bad requests (default: 10000)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0, or 1 where something could not be measured.
    """
    chosen = parse_arguments(arguments)
    measured: Values = {}
    failed = False
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        bundle = Path(folder) / "S"
        call(write_model, bundle, SHAPES["S"].config)
        run = Run(bundle, chosen.seconds, chosen.vanishing, chosen.slow, chosen.malformed)
        for name in chosen.only:
            print(f"Measuring {name}", file=sys.stderr)
            try:
                measured.update(MEASURES[name](run))
            except (TinyLMError, OSError, subprocess.SubprocessError) as error:
                failed = True
                print(f"Error: {name}: {error}", file=sys.stderr)
    figures = rounded(measured)
    print_table(figures)
    print(json.dumps({"ratios": {}, "figures": figures}))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
