"""`tinylm data`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, json_option, reading_options
from tinylm.printable import command_line, printable
from tinylm.signatures import takes_fields_of

if TYPE_CHECKING:
    from tinylm.data.inspection.inspection import ExampleKind, Inspection
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
    """Write the bundled world into FOLDER: world.txt to pre-train on, chats.jsonl to fine-tune on."""
    from tinylm.data.world import write_world

    write_world(folder, conversations, documents, seed)
    say(
        f"Wrote {documents:,} texts and {conversations:,} conversations. Next:\n"
        f"  {command_line('tinylm', 'train', '--pretrain', folder / 'world.txt', '--finetune', folder / 'chats.jsonl')}"
    )


@dataclass(frozen=True, kw_only=True)
class InspectCommand:
    """The options of `tinylm data inspect`."""

    paths: tuple[str, ...]
    kind: str | None
    tokenizer: Path | None
    vocab_size: int | None
    context_length: int | None
    assistant: str | None
    user: str | None
    documents: str | None
    preview: int
    as_json: bool


@command.command("inspect")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["text", "conversations"]),
    help="Read files that could be either as raw text, or as conversations.  [default: as conversations]",
)
@click.option("--tokenizer", type=FILE, help="Count tokens with the tokenizer of a run, or of a file.")
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
@reading_options
@click.option(
    "--preview",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Number of documents or conversations to show, spread over the data.",
)
@json_option
@takes_fields_of(InspectCommand)
def inspect(options: InspectCommand) -> None:
    """Inspect data before training: forms, roles, duplicates, lengths, and problems with what to do about them.

    A PATH is a file, a folder or a quoted glob, as for `tinylm train`. The first line says how the data was read, and
    whether training on it makes sense.

    Exits with 1 if a problem makes training useless. Statistics of large files come from a sample, as the report says.
    """
    from tinylm.data.inspection.checks import findings_of
    from tinylm.data.inspection.verdict import verdict_of

    if options.tokenizer is not None and options.vocab_size is not None:
        raise click.UsageError("--vocab-size is for the tokenizer that is trained on the data: give it or --tokenizer")
    inspection = _inspect(options)
    findings = findings_of(inspection)
    verdict = verdict_of(inspection, findings)
    is_useless = any(finding.severity == "error" for finding in findings)
    if options.as_json:
        listed = [finding._asdict() for finding in findings]
        print_json({"verdict": verdict, **inspection.as_json(), "findings": listed, "ok": not is_useless})
    else:
        from tinylm.cli.inspection import show

        show(inspection, findings, verdict)
    if is_useless:
        raise SystemExit(1)


def _inspect(options: InspectCommand) -> Inspection:
    """Read the files, with a spinner in a terminal."""
    from rich.console import Console

    from tinylm.config import ModelConfig
    from tinylm.data.inspection.inspection import inspect_files
    from tinylm.data.readers.options import ReadOptions
    from tinylm.data.readers.paths import find_files

    defaults = ModelConfig()
    vocab_size = options.vocab_size or defaults.vocab_size
    kinds: dict[str | None, ExampleKind] = {"text": "documents", "conversations": "conversations"}
    with Console(stderr=True).status("Reading") as status:
        inspection = inspect_files(
            [file.path for file in find_files(options.paths, notice)],
            kind=kinds.get(options.kind),
            tokenizer=_load_tokenizer(options.tokenizer) if options.tokenizer is not None else vocab_size,
            context_length=options.context_length or defaults.context_length,
            samples=options.preview,
            options=ReadOptions(options.assistant, options.user, options.documents),
            notify=status.update,
        )
    if options.tokenizer is not None:
        inspection.tokenizer = f"of {printable(options.tokenizer)}"
    return inspection


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
    from tinylm.run_folder import RunFolder
    from tinylm.tokenizer import load_tokenizer

    return RunFolder(path).load_tokenizer() if path.is_dir() else load_tokenizer(path)
