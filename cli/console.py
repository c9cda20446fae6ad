"""Messages for people on stderr, results for programs on stdout."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click

from tinylm.printable import json_text, printable


def speaks() -> bool:
    """Whether this process shows messages: of the processes that `torchrun` starts, the first one does."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Show a message on stderr; of several processes that train together, one does."""
    if not speaks():
        return
    click.echo(printable(message), err=True)


def notice(message: str) -> None:
    """Show something that the user should know, on stderr."""
    if not speaks():
        return
    click.echo(f"{click.style('Note:', fg='yellow', bold=True)} {printable(message)}", err=True)


def print_json(values: dict[str, Any]) -> None:
    """Print the one JSON object of `--json` on stdout, in ASCII, whatever the encoding of the stream."""
    click.echo(json_text(values))


def print_toml(text: str) -> None:
    """Print TOML on stdout; as TOML is UTF-8, a stream of another encoding gets escapes in its strings."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    if encoding not in {"utf-8", "utf8"}:
        text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\U{ord(found[0]):08X}", text)
    click.echo(text, nl=False)
