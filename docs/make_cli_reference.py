"""Writes docs/cli.md from `--help`: `python docs/make_cli_reference.py [FILE]`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tinylm.cli.main import cli

_HEADER = "# Command line reference\n\nWritten by `make docs` from `--help`.\n"


def cli_reference() -> str:
    """The reference as Markdown."""
    return "\n".join([_HEADER, *_sections(cli, _context(cli, "tinylm", None))])


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _sections(child, _context(child, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    context = command.make_context(name, [], parent, resilient_parsing=True)
    # The width of the terminal must not show in the reference
    context.terminal_width = 100
    return context


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "cli.md"
    target.write_text(cli_reference(), "utf-8")
