"""`tinylm report`."""

from __future__ import annotations

from pathlib import Path

import click

from tinylm.cli.options import FOLDER
from tinylm.printable import printable


@click.command("report")
@click.argument("run", type=FOLDER)
def command(run: Path) -> None:
    """Write a run's report.html anew: curves, samples, figures and advice; also while it trains."""
    from tinylm.report.report import write_report
    from tinylm.run_folder import RunFolder

    click.echo(printable(write_report(RunFolder(run))))
