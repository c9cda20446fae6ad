"""`tinylm complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinylm.cli.console import print_json
from tinylm.cli.options import FOLDER, TEXT, json_option, sampling_options, threads_option
from tinylm.cli.piped_prompt import piped_prompt
from tinylm.cli.terminal.results import result_values


@click.command("complete")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--prompt", type=TEXT, help="The text to continue; stdin is not read.")
@sampling_options
@threads_option
@json_option
def command(bundle: Path | None, prompt: str | None, threads: int, as_json: bool, **sampling: Any) -> None:
    """Continue a raw text with BUNDLE, or with the demo model in the box.

    Without --prompt, a stdin that is no terminal is the text.
    """
    if prompt is None:
        prompt = piped_prompt()
        if not prompt:
            raise click.UsageError("no text to continue: give --prompt TEXT, or pipe one in")

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
