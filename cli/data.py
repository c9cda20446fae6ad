"""`tinylm data`."""

from __future__ import annotations

from pathlib import Path

import click

from tinylm.cli.console import say
from tinylm.cli.options import FOLDER


@click.group("data")
def command() -> None:
    """Work with training data."""


@command.command("world")
@click.argument("folder", type=FOLDER)
@click.option("--conversations", type=click.IntRange(min=1), default=24_000, show_default=True)
@click.option("--documents", type=click.IntRange(min=1), default=8_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def world(folder: Path, conversations: int, documents: int, seed: int) -> None:
    """Write the demo world into FOLDER: world.txt to pre-train on, chats.jsonl to fine-tune on."""
    from tinylm.data.world import write_world

    write_world(folder, conversations, documents, seed)
    say(
        f"Wrote {documents:,} texts and {conversations:,} conversations. Next:\n"
        f"  tinylm train --pretrain {folder / 'world.txt'} --finetune {folder / 'chats.jsonl'}"
    )
