"""What the commands share to talk to people (on stderr) and to programs (on stdout)."""

from __future__ import annotations

import json
import os
from typing import Any

import click


def speaks() -> bool:
    """Whether this process is the one to speak, by what `torchrun` told it."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """A sentence for the person, on stderr; of several processes that train together, one speaks."""
    if not speaks():
        return
    click.echo(message, err=True)


def notice(message: str) -> None:
    """Something the person should know, on stderr."""
    if not speaks():
        return
    click.echo(f"{click.style('Note:', fg='yellow', bold=True)} {message}", err=True)


def print_json(values: dict[str, Any]) -> None:
    """The one JSON object of `--json`, on stdout."""
    click.echo(json.dumps(values, ensure_ascii=False))
