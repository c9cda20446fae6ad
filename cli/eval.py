"""`tinylm eval`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, json_option
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.data.world import WorldScore
    from tinylm.evaluation import Score
    from tinylm.quality import Progress


@click.command("eval")
@click.argument("run_or_bundle", type=FOLDER)
@click.option(
    "--data",
    "files",
    type=FILE,
    multiple=True,
    help="A file of text or conversations. Repeatable.  [default: the run's held-out data]",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["text", "conversations"]),
    help="What the files hold.  [default: conversations where there are some, but text for .txt and .md]",
)
@click.option("--world", is_flag=True, help="Score replies in the bundled world, on phrasings that training never saw.")
@click.option("--full", is_flag=True, help="Score all positions instead of some 4,096 spread over each file.")
@click.option("--failures", type=click.IntRange(min=0), default=0, help="With --world: show so many wrong replies.")
@json_option
def command(
    run_or_bundle: Path,
    files: tuple[Path, ...],
    kind: Literal["text", "conversations"] | None,
    world: bool,
    full: bool,
    failures: int,
    as_json: bool,
) -> None:
    """Measure a run or a bundle: bits per byte on text, or right replies in the bundled world."""
    from tinylm.quality import evaluate, evaluate_world

    if world and files:
        raise click.UsageError("--world brings its own data: give it without --data")
    if kind is not None and not files:
        raise click.UsageError("--as says what --data holds: give it with --data FILE")
    with _progress_bar() as progress:
        if world:
            result = evaluate_world(run_or_bundle, notify=notice, progress=progress)
        else:
            scores = evaluate(run_or_bundle, files, kind=kind, full=full, notify=notice, progress=progress)
    if world:
        _show_failures(result, failures)
    if as_json:
        print_json(_world_values(result) if world else _score_values(scores))
    elif world:
        _print_world(_world_values(result))
    else:
        _print_scores(scores)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show progress on a terminal: one bar, of what is being scored."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Scoring", total=None)
        yield lambda name, done, count: bar.update(task, description=printable(name), completed=done, total=count)


def _score_values(scores: dict[str, Score]) -> dict[str, Any]:
    """The values of `--json`: of all files together, and of each where there are several."""
    from tinylm.evaluation import Score

    def of(result: Score) -> dict[str, Any]:
        return {
            "bits_per_byte": result.bits_per_byte,
            "loss": result.loss,
            "tokens": result.tokens,
            "bytes": result.bytes,
        }

    values = of(Score.total(scores.values()))
    if len(scores) > 1:
        values["files"] = [{"file": name, **of(result)} for name, result in scores.items()]
    return values


def _world_values(result: WorldScore) -> dict[str, Any]:
    """The values of `--world --json`."""
    return {
        "accuracy": result.accuracy,
        "recall_accuracy": result.recall_accuracy,
        "baseline_accuracy": result.baseline_accuracy,
        "n": result.n,
    }


def _print_scores(scores: dict[str, Score]) -> None:
    """Print a line for each file, and one for all where there are several."""
    from tinylm.evaluation import Score

    named = [(printable(Path(name).name), result) for name, result in scores.items()]
    if len(named) > 1:
        named.append(("all", Score.total(scores.values())))
    width = max(len(name) for name, _ in named)
    click.echo(f"{'':{width}}  bits per byte  loss (nats a token)      tokens       bytes")
    for name, result in named:
        click.echo(
            f"{name:{width}}  {result.bits_per_byte:>13.4f}  {result.loss:>19.4f}  "
            f"{result.tokens:>10,}  {result.bytes:>10,}"
        )


def _print_world(values: dict[str, Any]) -> None:
    click.echo(f"right replies                      {values['accuracy']:>8.2%}  of {values['n']:,}")
    click.echo(f"of facts told in earlier turns     {values['recall_accuracy']:>8.2%}")
    click.echo(f"best constant reply                {values['baseline_accuracy']:>8.2%}")


def _show_failures(result: WorldScore, count: int) -> None:
    for item, reply in result.failures[:count]:
        for message in item.conversation:
            say(f"{message['role']:>10}: {message['content']}")
        say(f"{'reply':>10}: {reply}\n{'expected':>10}: {item.expected}\n")
