"""`tinylm doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import print_json, say
from tinylm.cli.options import FOLDER, json_option
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.runtime.checkup import DoctorReport, SizeEstimate

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "red")}
_ESTIMATES = "Estimates for other int8 models:"


@click.command("doctor")
@click.argument("bundle", type=FOLDER, required=False)
@json_option
def command(bundle: Path | None, as_json: bool) -> None:
    """Check whether this machine can run BUNDLE, or the demo model in the box, and how fast.

    Checks the board, the system, memory, onnxruntime and the bundle, and says what to do about problems.
    The exit code is 1 where something prevents chatting.
    """
    import msgspec

    from tinylm.runtime.checkup import examine
    from tinylm.runtime.demo import DEMO_BUNDLE

    say("Checking this machine; it takes some seconds …")
    results = examine(bundle or DEMO_BUNDLE, printable(bundle) if bundle else "the demo model in the box")
    if as_json:
        print_json(msgspec.to_builtins(results))
    else:
        _show(results)
    if not results.ok:
        raise SystemExit(1)


def _show(results: DoctorReport) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        _print_plain(results)
        return
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for finding in results.findings:
        mark, style = _MARKS[finding.level]
        table.add_row(Text(mark, style=style), finding.topic, Text(finding.text))
        if finding.advice:
            table.add_row("", "", Text("→ " + finding.advice, style=style))
    console.print(table)
    if results.estimates:
        console.print(f"\n{_ESTIMATES}")
        estimates = Table()
        for heading in ("weights", "tokens/s", "memory"):
            estimates.add_column(heading, justify="right")
        for one in results.estimates:
            estimates.add_row(*_cells(one))
        console.print(estimates)
    level, verdict = _verdict(results)
    console.print(Text(f"\n{verdict}", style=f"bold {_MARKS[level][1]}"))


def _print_plain(results: DoctorReport) -> None:
    """Print a line for each finding, for scripts and mails."""
    for finding in results.findings:
        advice = f" -> {finding.advice}" if finding.advice else ""
        click.echo(f"{finding.level}: {finding.topic}: {finding.text}{advice}")
    for one in results.estimates:
        weights, speed, memory = _cells(one)
        click.echo(f"estimate: {weights} of int8 weights: {speed} tokens/s, {memory} of memory")
    click.echo(_verdict(results)[1])


def _cells(estimate: SizeEstimate) -> tuple[str, str, str]:
    memory = f"{estimate.memory_mb:,} MB" + (" (more than is free)" if estimate.fits is False else "")
    return f"{estimate.megabytes} MB", f"{estimate.decode_tokens_per_second:,.0f}", memory


def _verdict(results: DoctorReport) -> tuple[str, str]:
    """The worst level, and a sentence that states it."""
    if not results.ok:
        return "problem", "Chatting does not work here; the problems above say what to do."
    if any(finding.level == "note" for finding in results.findings):
        return "note", "Chatting works; the notes above say what could be better."
    return "ok", "All is well."
