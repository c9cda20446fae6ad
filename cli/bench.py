"""`tinylm bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import print_json, say
from tinylm.cli.options import FOLDER, json_option
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.runtime.benchmark import BundleBenchmark


@click.command("bench")
@click.argument("bundle", type=FOLDER, required=False)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="CPU threads to measure with. Repeatable.  [default: 1, 2, 4, … up to the cores]",
)
@click.option(
    "--context",
    "contexts",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Tokens before those that are measured. Repeatable.  [default: 0, 128, half of the context, nearly all]",
)
@json_option
def command(bundle: Path | None, threads: tuple[int, ...], contexts: tuple[int, ...], as_json: bool) -> None:
    """Measure how fast BUNDLE, or the demo model in the box, is on this machine.

    The fastest number of threads is remembered for chats, unless --threads leaves some out.
    """
    import msgspec

    from tinylm.runtime.benchmark import benchmark
    from tinylm.runtime.demo import DEMO_BUNDLE

    results = benchmark(
        bundle or DEMO_BUNDLE, threads, contexts, lambda count: say(f"Measuring with {_threads(count)} …")
    )
    if as_json:
        print_json(msgspec.to_builtins(results))
        return
    _show(results, printable(bundle or "the demo model in the box"))
    if not threads and len(results.by_threads) > 1:
        say(f"Chats with this bundle take {_threads(results.threads)} from now on.")


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _show(results: BundleBenchmark, name: str) -> None:
    from rich.console import Console
    from rich.table import Table

    measured = results.by_threads
    table = Table(title=name, title_justify="left")
    table.add_column("tokens/s")
    for one in measured:
        is_best = len(measured) > 1 and one.threads == results.threads
        heading = _threads(one.threads) + (" (best)" if is_best else "")
        table.add_column(heading, justify="right", style="green" if is_best else None)
    for kind in ("decode", "prefill"):
        for number, at in enumerate(measured[0].contexts):
            speeds = (getattr(one.contexts[number], f"{kind}_tokens_per_second") for one in measured)
            table.add_row(f"{kind} after {at.context:,}", *(f"{speed:,.0f}" for speed in speeds))
        table.add_section()
    rows = {
        "load": [f"{one.load_s * 1000:,.0f} ms" for one in measured],
        f"first token of {results.prompt_tokens}": [f"{one.time_to_first_token_s * 1000:,.1f} ms" for one in measured],
        "reads": [f"{one.read_gb_per_s:,.1f} of {one.memory_gb_per_s:,.1f} GB/s" for one in measured],
        "peak memory": [f"{one.peak_rss_mb:,.0f} MiB" if one.peak_rss_mb else "" for one in measured],
        "idle, of a core": [f"{one.idle_cpu_percent:.1f} %" for one in measured],
    }
    for label, cells in rows.items():
        table.add_row(label, *cells)
    Console().print(table)
