"""What the commands share to talk to people (on stderr) and to programs (on stdout)."""

from __future__ import annotations

import json
from typing import Any

import click


def say(message: str) -> None:
    """A sentence for the person, on stderr."""
    click.echo(message, err=True)


def notice(message: str) -> None:
    """Something the person should know, on stderr."""
    click.echo(f"{click.style('Note:', fg='yellow', bold=True)} {message}", err=True)


def print_json(values: dict[str, Any]) -> None:
    """The one JSON object of `--json`, on stdout."""
    click.echo(json.dumps(values, ensure_ascii=False))
