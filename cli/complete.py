"""`tinylm complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinylm.cli.console import print_json
from tinylm.cli.options import FOLDER, TEXT, json_option, sampling_options, threads_option
from tinylm.cli.terminal.results import result_values


@click.command("complete")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--prompt", type=TEXT, required=True, help="The text to go on with.")
@sampling_options
@threads_option
@json_option
def command(bundle: Path | None, prompt: str, threads: int, as_json: bool, **sampling: Any) -> None:
    """Let BUNDLE, or the demo model in the box, go on with a raw text."""
    from tinylm.runtime import ChatModel

    model = ChatModel(bundle, threads=threads)
    generation = model.complete(prompt, model.default_options(**sampling))
    if not as_json:
        click.echo(prompt, nl=False)
    for text in generation:
        if not as_json:
            click.echo(text, nl=False)
    if as_json:
        print_json(result_values(generation.result))
    else:
        click.echo()
