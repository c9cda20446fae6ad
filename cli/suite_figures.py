"""Print the accuracy on a suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.suite_scoring import SuiteScore

_WIDEST = 40


def print_suite(result: SuiteScore) -> None:
    """Print a line for each phenomenon, for all together, and what chance reaches."""
    scores = result.by_phenomenon()
    names = {name: printable(name).replace("_", " ")[:_WIDEST] for name in scores}
    width = max(len("phenomenon"), *map(len, names.values()))
    by_byte = result.accuracy_by_byte is not None
    click.echo(f"{'phenomenon':{width}}  accuracy{'   by byte' if by_byte else ''}  items")
    for name, score in scores.items():
        _print_line(names[name], width, score, by_byte)
    _print_line("all", width, result, by_byte, f"  ± {result.standard_error:.1%}")
    click.echo(f"{'chance':{width}}  {result.chance:>8.1%}")


def _print_line(name: str, width: int, score: SuiteScore, by_byte: bool, rest: str = "") -> None:
    byte = "" if not by_byte else f"  {score.accuracy_by_byte or 0:>8.1%}"
    click.echo(f"{name:{width}}  {score.accuracy:>8.1%}{byte}  {len(score.answers):>5,}{rest}")
