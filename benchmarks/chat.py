"""TinyLM's chat on this device: `python benchmarks/chat.py`; see benchmarks/README.md.

How soon it answers, what it takes in memory and at rest, and what the generation loop costs. Prints a table, and one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import conversations
import msgspec
import numpy as np
from commands import TINYLM, Place, Terminal, alternate, python
from report import rounded
from shapes import SHAPES
from workers import Result, Worker

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError

_REPEATS = 41
_IDLE_SECONDS = 10.0
_FULL_TURNS = 6

Values = dict[str, float | list[float]]


class Bench:
    """What is measured on: bundles of shape S, made when they are first wanted, and a place for commands.

    Args:
        folder: for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.place = Place(folder)

    def bundle(self, vocab_size: int = 4096) -> Path:
        """The folder of a bundle with random weights."""
        path = self._folder / f"S-{vocab_size}"
        if not path.exists():
            config = msgspec.structs.replace(SHAPES["S"].config, vocab_size=vocab_size)
            call(write_model, path, config)
        return path


def first_token_ratio(bench: Bench) -> Values:
    """To the first byte of a reply of the demo model, over importing what that takes."""
    return _process_ratio(
        "first_token",
        lambda: bench.place.seconds_to_first_byte([TINYLM, "chat", "--prompt", "hi"]),
        "import",
        lambda: bench.place.seconds_to_end(python("import numpy, onnxruntime, sentencepiece")),
    )


def help_ratio(bench: Bench) -> Values:
    """All of `tinylm --help`, over importing click."""
    return _process_ratio(
        "help",
        lambda: bench.place.seconds_to_end([TINYLM, "--help"]),
        "import_click",
        lambda: bench.place.seconds_to_end(python("import click")),
    )


def peak_rss_mb(bench: Bench) -> Values:
    """The most memory resident in an interactive chat whose context is full to the last token."""
    # Replies longer than the quarter of the context that a chat keeps free for them end where the context does
    with Terminal([TINYLM, "chat", str(bench.bundle()), "--max-new-tokens", "600"], bench.place) as terminal:
        for number in range(_FULL_TURNS):
            terminal.say(conversations.message(20, first=number))
        peak, stats = terminal.memory_mb("VmHWM"), terminal.say("/stats")
    if not re.search("context 1024/1024", stats):
        raise TinyLMError(f"the context did not fill up: {stats!r}")
    peak_line = "next(line for line in open('/proc/self/status') if 'VmHWM' in line)"
    bare = bench.place.output(python(f"import numpy, onnxruntime; print({peak_line})"))
    return {"peak_rss_mb": peak, "bare_import_rss_mb": int(bare.split()[1]) / 1024}


def rss_growth_mb(bench: Bench) -> Values:
    """What 500 more turns of a conversation leave resident."""
    before, after = call(conversations.resident_mb, bench.bundle(), 20, 500, 64)
    return {"rss_growth_mb": after - before, "rss_after_warm_up_mb": before}


def idle_cpu_percent(bench: Bench) -> Values:
    """CPU time of an interactive chat that waits for input."""
    with Terminal([TINYLM, "chat"], bench.place) as terminal:
        terminal.say("hi")
        started, before = time.perf_counter(), terminal.cpu_seconds()
        time.sleep(_IDLE_SECONDS)
        used, taken = terminal.cpu_seconds() - before, time.perf_counter() - started
        terminal.say("hi")  # it is still there
    return {"idle_cpu_percent": 100 * used / taken}


def loop_overhead_4k(bench: Bench) -> Values:
    """What sampling and text cost beside the bare session loop."""
    return _loop_overhead("4k", bench.bundle())


def loop_overhead_32k(bench: Bench) -> Values:
    """The same with a vocabulary of 32,000."""
    return _loop_overhead("32k", bench.bundle(32_000))


def second_turn_ratio(bench: Bench) -> Values:
    """To the first token of a second turn, over that of a fresh conversation."""
    second, fresh = call(conversations.turn_seconds, bench.bundle(), 200, 16, _REPEATS)
    return {
        "second_turn_ratio": float(np.median(second) / np.median(fresh)),
        **spread("second_turn_ms", np.array(second) * 1e3),
        **spread("fresh_turn_ms", np.array(fresh) * 1e3),
    }


@dataclass(frozen=True)
class Target:
    """A figure and what it is to be.

    Attributes:
        most: the value that it is not to exceed.
        measure: gives it by its name, and others beside it.
    """

    most: float
    measure: Callable[[Bench], Values]


TARGETS = {
    target.measure.__name__: target
    for target in (
        Target(3, first_token_ratio),
        Target(2.5, help_ratio),
        Target(120, peak_rss_mb),
        Target(2, rss_growth_mb),
        Target(1, idle_cpu_percent),
        Target(0.15, loop_overhead_4k),
        Target(0.30, loop_overhead_32k),
        Target(1.3, second_turn_ratio),
    )
}


def call(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a process of its own."""
    with Worker() as worker:
        return worker.call(function, *arguments)


def write_model(path: Path, config: ModelConfig) -> None:
    """Write a bundle; for a process of its own, which leaves neither torch nor its memory behind."""
    from bundles import write_bundle

    write_bundle(path, config)


def spread(name: str, values: Sequence[float]) -> Values:
    """The median, and the quartiles about it."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {name: middle, f"{name}.quartiles": [low, high]}


def overhead(whole: Sequence[float], bare: Sequence[float]) -> float:
    """What the whole loop takes more than the bare one, as a part of that.

    Of the first quartiles of the times: what else the machine does only ever adds to them.
    """
    return float(np.quantile(whole, 0.25) / np.quantile(bare, 0.25)) - 1


def _process_ratio(name: str, ours: Callable[[], float], base_name: str, base: Callable[[], float]) -> Values:
    our_times, base_times = alternate(ours, base, _REPEATS)
    return {
        f"{name}_ratio": float(np.median(our_times) / np.median(base_times)),
        **spread(f"{name}_s", our_times),
        **spread(f"{base_name}_s", base_times),
    }


def _loop_overhead(name: str, bundle: Path) -> Values:
    context, tokens = 128, 256
    whole, bare = call(conversations.loop_seconds, bundle, context, tokens, _REPEATS)
    return {
        f"loop_overhead_{name}": overhead(whole, bare),
        **spread(f"chat_tokens_per_second_{name}", tokens / np.array(whole)),
        **spread(f"bare_tokens_per_second_{name}", tokens / np.array(bare)),
    }


def print_table(figures: Mapping[str, float | list[float]]) -> None:
    """What was measured, beside its target, for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="tinylm chat", title_justify="left", title_style="bold")
    for heading in ("figure", "measured", "quartiles", "target"):
        table.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    for name, value in figures.items():
        if isinstance(value, list):
            continue
        quartiles = figures.get(f"{name}.quartiles")
        span = f"{quartiles[0]:,.4g} - {quartiles[1]:,.4g}" if isinstance(quartiles, list) else ""
        target = f"<= {TARGETS[name].most:g}" if name in TARGETS else ""
        table.add_row(name, f"{value:,.4g}", span, target, style="bold" if target else None)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="NAME", help=f"of {', '.join(TARGETS)}"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON object to a file as well")
    chosen = parser.parse_args(arguments)
    if chosen.out is not None and (chosen.out.is_dir() or not os.access(chosen.out.parent, os.W_OK)):
        parser.error(f"--out {chosen.out}: cannot be written; give a file in a folder that exists")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0, or 1 where something could not be measured.
    """
    chosen = parse_arguments(arguments)
    measured: Values = {}
    failed = False
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # chats remember which bundles they have verified
        bench = Bench(Path(folder))
        for name in chosen.only:
            print(f"Measuring {name}", file=sys.stderr)
            try:
                measured.update(TARGETS[name].measure(bench))
            except (TinyLMError, OSError) as error:
                failed = True
                print(f"Error: {name}: {error}", file=sys.stderr)
    figures = rounded(measured)
    print_table(figures)
    line = json.dumps({"ratios": {}, "figures": figures})
    if chosen.out is not None:
        chosen.out.write_text(line + "\n", encoding="utf-8")
    print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
