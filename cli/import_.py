"""`tinylm import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FOLDER, json_option
from tinylm.printable import command_line, printable

if TYPE_CHECKING:
    from tinylm.importing import ImportedRun


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="The run's folder, which is created.")
@json_option
def command(path: Path, out: Path, as_json: bool) -> None:
    """Make a run of a pre-trained model: PATH is a Hugging Face folder or a GGUF file.

    Nothing is downloaded, and no program of the model is run.
    """
    from rich.console import Console
    from rich.progress import Progress

    from tinylm.importing import import_model

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Importing", total=None)
        run = import_model(
            path,
            out,
            notify=notice,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        import msgspec

        values = {"run": str(out), "parameters": run.parameters}
        print_json({**values, "model": msgspec.to_builtins(run.config), "imported": msgspec.to_builtins(run.model)})
    else:
        _show(run)


def _show(run: ImportedRun) -> None:
    config, model = run.config, run.model
    is_chat = run.is_chat
    shape = f"{config.num_layers} layers, {config.d_model} wide, {config.nhead} heads"
    say(f"{printable(model.name)} ({model.form}): {run.parameters:,} parameters, {shape}")
    say(f"Vocabulary: {config.vocab_size:,} tokens. Context: {config.context_length:,} tokens.")
    chat = (
        f"it knows the chat format {model.chat_format}" if is_chat else "it continues text, and has yet to learn chats"
    )
    say(f"Chats: {chat}")
    say(
        f"Licence: {printable(model.license) if model.license else 'its files name none; look it up before you use it'}"
    )
    say("Next:")
    say(f"  {command_line('tinylm', 'train', '--init', run.folder.path, '--finetune', 'chats.jsonl')}")
    say(f"  {command_line('tinylm', 'export', run.folder.path, '--quantize', '--out', 'BUNDLE')}")
