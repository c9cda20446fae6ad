"""Print the report of `tinylm data inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tinylm.data.inspection.token_statistics import clipped
from tinylm.data.readers.read_summary import summed_up
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.data.inspection.checks import DataFinding
    from tinylm.data.inspection.inspection import ExampleFacts, ExampleKind, InspectedFile, Inspection
    from tinylm.data.inspection.token_statistics import MarkedText

_SHOWN_CHARACTERS = 480
_SHOWN_ONE_BY_ONE, _SHOWN_FORMS = 20, 10
_SUPERVISED = "green"


def show(inspection: Inspection, findings: list[DataFinding], verdict: str) -> None:
    """Print the report on stdout."""
    console = Console(highlight=False)
    console.print(Text(verdict, style="bold"))
    console.print()
    if len(inspection.files) > _SHOWN_ONE_BY_ONE:
        _show_files(console, inspection.files)
    else:
        for file in inspection.files:
            _show_file(console, file)
    for kind, facts in inspection.kinds.items():
        console.print()
        table = Table(title=kind.capitalize(), title_justify="left", title_style="bold", show_header=False, box=None)
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        for name, value in _rows(kind, facts, inspection):
            table.add_row(name, value)
        console.print(table)
    if inspection.samples:
        _show_samples(console, inspection.samples)
    console.print()
    for finding in findings:
        style, mark = ("bold red", "Error:") if finding.severity == "error" else ("bold yellow", "Warning:")
        line = Text.assemble((mark, style), f" {finding.problem}\n", ("  what to do: ", "dim"), finding.advice)
        console.print(line)
    if not findings:
        console.print("No problems found.", style="bold green")


def _show_file(console: Console, file: InspectedFile) -> None:
    packed = f", packed with {file.compression}" if file.compression else ""
    console.print(Text(printable(file.path), style="bold"))
    if file.kind is not None:
        facts = ", ".join(part for part in (file.form, file.encoding, _size(file.bytes)) if part)
        kind = file.kind.removesuffix("s") if file.read == 1 else file.kind
        console.print(Padding(Text(f"{file.read:,} {kind}: {facts}{packed}"), (0, 0, 0, 2), expand=False))
    for note in file.notes:
        console.print(Padding(Text(note, style="yellow"), (0, 0, 0, 2), expand=False))
    if file.error is not None:
        how = "not read to its end; see below" if file.read else "not read; see below"
        console.print(Padding(Text(how, style="red"), (0, 0, 0, 2), expand=False))


def _show_files(console: Console, files: list[InspectedFile]) -> None:
    """Sum up many files."""
    forms = Counter((file.kind, file.form) for file in files if file.kind is not None)
    console.print(Text(f"{len(files):,} files", style="bold"))
    for (kind, form), count in forms.most_common(_SHOWN_FORMS):
        console.print(Padding(Text(f"{count:,} of {kind}: {form}"), (0, 0, 0, 2), expand=False))
    unread = sum(file.error is not None for file in files)
    if unread:
        text = Text(f"{unread:,} not read, or not to their ends, see below", style="red")
        console.print(Padding(text, (0, 0, 0, 2), expand=False))
    for line in summed_up((file.path, file.notes) for file in files):
        console.print(Padding(Text(line, style="yellow"), (0, 0, 0, 2), expand=False))


def _rows(kind: ExampleKind, facts: ExampleFacts, inspection: Inspection) -> Iterator[tuple[str, str]]:
    count, tokens = facts.count, facts.tokens
    yield kind, f"{count:,}"
    if facts.skipped:
        yield "left out", ", ".join(f"{number:,} with {reason}" for reason, number in facts.skipped.items())
    if kind == "conversations":
        roles = facts.roles
        yield "turns", f"{facts.turns:,}, {facts.turns / count:.1f} a conversation"
        yield "user and assistant alternate", _share(roles.alternating, count)
        yield "opened by the assistant", _share(roles.opened_by_assistant, count)
        yield "ended by the user", _share(roles.ended_by_user, count)
        yield "with a system message", _share(roles.with_system, count)
        if roles.system_in_the_middle:
            yield "with a later system message", _share(roles.system_in_the_middle, count)
    exact, normalized = facts.duplicates["exact"], facts.duplicates["normalized"]
    part = "" if facts.duplicates_looked_at == 1 else f"; estimated from {facts.duplicates_looked_at:.1%}"
    yield "duplicates", f"{exact:.1%} exact, {normalized:.1%} but for case and white space{part}"
    if kind == "conversations":
        yield "most frequent reply", f"{facts.commonest_reply:.1%} of the replies"
    yield "characters", f"{facts.characters:,}"
    if tokens is None:
        return
    sampled = "" if facts.sample_share == 1 else f"; estimated from a sample of {facts.sample_share:.1%}"
    yield "tokens", f"{tokens.total:,}{sampled}"
    yield "tokens each", f"median {tokens.median:,}, 95 % up to {tokens.p95:,}, longest {tokens.longest:,}"
    if kind == "conversations":
        yield (
            f"longer than {inspection.context_length:,} tokens",
            f"{tokens.over_long:.1%}, cut between turns" if tokens.over_long else "none",
        )
        yield "supervised tokens", f"{tokens.supervised:.1%}"
        if tokens.supervised_lost:
            yield "of these, lost by cutting", f"{tokens.supervised_lost:.1%}"
    yield "vocabulary", f"{inspection.vocab_size:,} tokens, {inspection.tokenizer}"
    yield "bytes per token", f"{tokens.bytes_per_token:.2f}"
    yield "characters encoded as bytes", f"{tokens.characters_as_bytes:.2%}"


def _show_samples(console: Console, samples: list[MarkedText]) -> None:
    console.print()
    how = Text("green", style=_SUPERVISED) if console.is_terminal else Text("in «»")
    console.print(Text.assemble(("Samples", "bold"), ": supervised text, which the model learns to predict, is ", how))
    for sample in samples:
        text = Text()
        for content, said in clipped(sample, _SHOWN_CHARACTERS):
            marked = content if console.is_terminal or not said else f"«{content}»"
            text.append(marked, style=_SUPERVISED if said else "")
        console.print(Padding(text, (0, 0, 1, 2), expand=False))


def _share(part: int, count: int) -> str:
    return f"{part:,} ({part / count:.1%})" if part else "none"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
