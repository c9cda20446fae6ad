"""`tinylm eval`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, TEXT, json_option, reading_options
from tinylm.printable import printable
from tinylm.reply_ranking import DEFAULT_REPLIES
from tinylm.signatures import takes_fields_of

if TYPE_CHECKING:
    from tinylm.data.world import WorldScore
    from tinylm.evaluation import Score
    from tinylm.reply_quality import Progress

_WORLD_CATEGORIES = {
    "itself": "about itself",
    "talk": "small talk",
    "known": "facts of its world",
    "told_listed": "told facts, values of the lists",
    "told_unseen": "told facts, values never seen",
    "not_known": "what it cannot know or do",
}
"""What the categories of the bundled world are called in the table."""


@dataclass(frozen=True, kw_only=True)
class EvalCommand:
    """The options of `tinylm eval`."""

    run_or_bundle: Path
    files: tuple[Path, ...]
    kind: Literal["text", "conversations"] | None
    assistant: str | None
    user: str | None
    documents: str | None
    replies: int | None
    train_data: tuple[str, ...]
    world: bool
    suites: tuple[str, ...]
    full: bool
    failures: int
    as_json: bool


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
@reading_options
@click.option(
    "--replies",
    type=click.IntRange(min=0),
    metavar="N",
    help="Replies in conversations that are ranked and generated; 0: none.  "
    f"[default: {DEFAULT_REPLIES}, with --full all]",
)
@click.option(
    "--train-data",
    multiple=True,
    metavar="PATH",
    help="What the model was trained on, to find what its replies copy: a file, a folder or a quoted glob. "
    "Repeatable.  [default: the run's files]",
)
@click.option(
    "--world", is_flag=True, help="Score replies in the bundled world, to questions written apart from training."
)
@click.option(
    "--suite",
    "suites",
    type=TEXT,
    multiple=True,
    metavar="NAME|FILE",
    help="Score minimal pairs or multiple choice: simple-english, or a file of JSON Lines with sentence_good and "
    "sentence_bad, or with choices. Repeatable.",
)
@click.option(
    "--full", is_flag=True, help="Score all positions instead of some 4,096 spread over each file, and all replies."
)
@click.option("--failures", type=click.IntRange(min=0), default=0, help="With --world: show so many wrong replies.")
@json_option
@takes_fields_of(EvalCommand)
def command(options: EvalCommand) -> None:
    """Measure a run or a bundle: bits per byte on text, and its replies in conversations.

    With held-out conversations, the true reply is ranked among ten (hits@1 of 10), and replies are generated: how much
    of them is repetition, and how many words in a row they copy from the training data. Or, with --world, the right
    replies in the bundled world; or, with --suite, the right choices between texts.
    """
    _check(options)
    if options.world:
        _evaluate_world(options)
    elif options.suites:
        _evaluate_suites(options)
    else:
        _evaluate(options)


def _check(options: EvalCommand) -> None:
    """Refuse options that do not go together."""
    given = options.files or options.train_data
    if options.world and given:
        raise click.UsageError("--world brings its own data: give it without --data and --train-data")
    if options.suites and (options.world or given):
        raise click.UsageError("--suite brings its own data: give it without --data, --train-data and --world")
    if options.kind is not None and not options.files:
        raise click.UsageError("--as says what --data holds: give it with --data FILE")
    reading = {"--assistant": options.assistant, "--user": options.user, "--documents": options.documents}
    for name, value in reading.items():
        if value is not None and not given:
            raise click.UsageError(f"{name} says how --data is read: give it with --data FILE")


def _evaluate_world(options: EvalCommand) -> None:
    from tinylm.quality import evaluate_world

    with _progress_bar() as progress:
        result = evaluate_world(options.run_or_bundle, notify=notice, progress=progress)
    _show_failures(result, options.failures)
    if options.as_json:
        print_json(_world_values(result))
    else:
        _print_world(_world_values(result))


def _evaluate_suites(options: EvalCommand) -> None:
    from tinylm.cli.suite_figures import print_suite
    from tinylm.quality import evaluate_suite

    with _progress_bar() as progress:
        result = evaluate_suite(options.run_or_bundle, options.suites, notify=notice, progress=progress)
    if options.as_json:
        print_json(result.as_json())
    else:
        print_suite(result)


def _evaluate(options: EvalCommand) -> None:
    from tinylm.cli.reply_figures import print_replies
    from tinylm.data.readers.options import ReadOptions
    from tinylm.measured_model import open_model
    from tinylm.quality import check_has_held_out, evaluate, evaluate_replies, read_held_out

    reading = ReadOptions(options.assistant, options.user, options.documents)
    replies = options.replies if options.replies is not None else None if options.full else DEFAULT_REPLIES
    if not options.files:
        check_has_held_out(options.run_or_bundle)
    with _progress_bar() as progress:
        model = open_model(options.run_or_bundle)
        held_out = read_held_out(model, options.files, kind=options.kind, options=reading, notify=notice)
        scores = evaluate(model, held_out, full=options.full, notify=notice, progress=progress)
        quality = None
        if replies != 0:
            quality = evaluate_replies(
                model,
                held_out,
                train_data=options.train_data,
                options=reading,
                limit=replies,
                notify=notice,
                progress=progress,
            )
    if options.as_json:
        print_json({**_score_values(scores), **(quality.as_json() if quality is not None else {})})
        return
    _print_scores(scores)
    if quality is not None:
        print_replies(quality)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show progress on a terminal: one bar, of what is being scored."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Scoring", total=None)
        yield lambda name, done, count: bar.update(
            task, description=printable(name), completed=done, total=count or None
        )


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
        "by_category": result.by_category,
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
    for category, share in values["by_category"].items():
        click.echo(f"  {_WORLD_CATEGORIES[category]:31}  {share:>8.2%}")
    click.echo(f"best constant reply                {values['baseline_accuracy']:>8.2%}")


def _show_failures(result: WorldScore, count: int) -> None:
    for item, conversation in result.failures[:count]:
        for message in conversation:
            say(f"{message['role']:>10}: {message['content']}")
        say(f"{'expected':>10}: {' and '.join(' or '.join(group) for group in item.required)}\n")
