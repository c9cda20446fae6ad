"""`tinylm data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, json_option
from tinylm.printable import command_line, printable

if TYPE_CHECKING:
    from tinylm.tokenizer import Tokenizer


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
        f"  {command_line('tinylm', 'train', '--pretrain', folder / 'world.txt', '--finetune', folder / 'chats.jsonl')}"
    )


@command.command("inspect")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["text", "conversations"]),
    help="Read files that could be either as raw text, or as conversations.  [default: as conversations]",
)
@click.option(
    "--tokenizer", "tokenizer_path", type=FILE, help="Count tokens with the tokenizer of a run, or of a file."
)
@click.option(
    "--vocab-size",
    type=click.IntRange(264, 262_144),
    help="Size of the tokenizer that is trained on the data.  [default: model.vocab_size]",
)
@click.option(
    "--context-length",
    type=click.IntRange(16, 65_536),
    help="Longer conversations count as cut.  [default: model.context_length]",
)
@json_option
def inspect(
    paths: tuple[str, ...],
    kind: str | None,
    tokenizer_path: Path | None,
    vocab_size: int | None,
    context_length: int | None,
    as_json: bool,
) -> None:
    """Inspect data before training: forms, roles, duplicates, lengths, and problems with what to do about them.

    A PATH is a file, a folder or a quoted glob, as for `tinylm train`.

    Exits with 1 if a problem makes training useless. Statistics of large files come from a sample, as the report says.
    """
    from rich.console import Console

    from tinylm.config import ModelConfig
    from tinylm.data.inspection.checks import findings_of
    from tinylm.data.inspection.inspection import inspect as look
    from tinylm.data.readers.paths import find_files

    if tokenizer_path is not None and vocab_size is not None:
        raise click.UsageError("--vocab-size is for the tokenizer that is trained on the data: give it or --tokenizer")
    defaults = ModelConfig()
    tokenizer = _load_tokenizer(tokenizer_path) if tokenizer_path is not None else None
    with Console(stderr=True).status("Reading") as status:
        inspection = look(
            [file.path for file in find_files(paths, notice)],
            kind="documents" if kind == "text" else "conversations" if kind == "conversations" else None,
            tokenizer=tokenizer,
            vocab_size=vocab_size or defaults.vocab_size,
            context_length=context_length or defaults.context_length,
            notify=status.update,
        )
    if tokenizer_path is not None:
        inspection.tokenizer = f"of {tokenizer_path}"
    findings = findings_of(inspection)
    spoilt = any(finding.severity == "error" for finding in findings)
    if as_json:
        listed = [finding._asdict() for finding in findings]
        print_json({**inspection.as_json(), "findings": listed, "ok": not spoilt})
    else:
        from tinylm.cli.inspection import show

        show(inspection, findings)
    if spoilt:
        raise SystemExit(1)


@command.command("cache")
@click.option("--clear", is_flag=True, help="Remove all of it; training recreates what it needs.")
@json_option
def cache(clear: bool, as_json: bool) -> None:
    """Show the folder that keeps tokenized data for later runs, and its size.

    TINYLM_DATA_CACHE sets another folder, TINYLM_DATA_CACHE_GB another limit of its size.
    """
    from tinylm.data.dataset.disk_cache import DataCache

    kept = DataCache()
    if clear:
        kept.clear()
    entries = kept.entries()
    size = sum(entry_size for _, entry_size, _ in entries)
    if as_json:
        print_json({"folder": str(kept.folder), "entries": len(entries), "bytes": size, "limit": kept.limit_bytes})
    else:
        held = f"{len(entries):,} entries, {size / 1e6:,.1f} MB of at most {kept.limit_bytes / 1e9:g} GB"
        click.echo(f"{printable(kept.folder)}: {held}")


def _load_tokenizer(path: Path) -> Tokenizer:
    from tinylm.tokenizer import Tokenizer

    return Tokenizer.load(path / "tokenizer.model" if path.is_dir() else path)
