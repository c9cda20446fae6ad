"""`tinylm eval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, json_option
from tinylm.errors import ContextFullError, DataError, RunError, TinyLMError
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.chat_format import Conversation
    from tinylm.evaluation import Score, TokenSequences, Window
    from tinylm.runtime.session import Decoder
    from tinylm.tokenizer import Tokenizer

    Losses = Callable[[Sequence[Window]], float]
    Kind = Literal["text", "conversations"]

DEFAULT_POSITIONS = 4096
_WINDOWS_AT_ONCE = 32


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
@click.option("--world", is_flag=True, help="Score replies in the demo world, on phrasings that training never saw.")
@click.option(
    "--full", is_flag=True, help=f"Score all positions, not some {DEFAULT_POSITIONS:,} spread over each file."
)
@click.option("--failures", type=click.IntRange(min=0), default=0, help="With --world: show so many wrong replies.")
@json_option
def command(
    run_or_bundle: Path,
    files: tuple[Path, ...],
    kind: Kind | None,
    world: bool,
    full: bool,
    failures: int,
    as_json: bool,
) -> None:
    """Measure a run or a bundle: bits per byte on text, or replies in the demo world."""
    is_run = (run_or_bundle / "config.toml").is_file()
    if world:
        if files:
            raise click.UsageError("--world brings its own data: give it without --data")
        values = _score_world(run_or_bundle, is_run, failures)
    else:
        if kind is not None and not files:
            raise click.UsageError("--as says what --data holds: give it with --data FILE")
        scores = _score(run_or_bundle, is_run, files, kind, full)
        values = _values(scores)
    if as_json:
        print_json(values)
    elif world:
        _print_world(values)
    else:
        _print_scores(scores)


def _score(folder: Path, is_run: bool, files: Sequence[Path], kind: Kind | None, full: bool) -> dict[str, Score]:
    """The score on each file, by its name; on a run's held-out data where there is none."""
    from tinylm.data.dataset.sequences import read_sequences
    from tinylm.evaluation import byte_lengths_of, make_windows, score

    if not files and not is_run:
        from tinylm.manifest import read_manifest

        read_manifest(folder)  # no bundle is the first thing to say
        raise TinyLMError(f"{folder}: a bundle holds no held-out text: give --data FILE, or --world")
    model = _open_run(folder) if is_run else _open_bundle(folder)
    tokenizer, byte_lengths = model.tokenizer, byte_lengths_of(model.tokenizer)
    scores: dict[str, Score] = {}
    for path in files or [model.held_out]:
        name = path.name if files else "held-out data"
        sequences = read_sequences(path, tokenizer, kind, notice) if files else _held_out(folder, path)
        if not model.chats and not sequences.supervised.all():
            notice(f"{folder} was never fine-tuned: it has not learnt the form of conversations")
        windows = make_windows(sequences, model.context_length, tokenizer.bos_id, None if full else DEFAULT_POSITIONS)
        if not windows:
            raise DataError(path, None, "no reply of an assistant in it, so nothing to score; give another file")
        result = score(_with_progress(model.losses, name), windows, byte_lengths)
        scores[str(path) if files else name] = result
        counted = int(sequences.supervised.sum())
        if result.tokens < counted:
            say(f"{name}: {result.tokens:,} of {counted:,} tokens scored, spread over the file; --full scores all")
    return scores


@dataclass(frozen=True)
class _Subject:
    """A run or a bundle as it is scored; `held_out` is where a run's held-out data lies."""

    losses: Losses
    tokenizer: Tokenizer
    context_length: int
    chats: bool
    held_out: Path


def _open_run(folder: Path) -> _Subject:
    from tinylm.run_folder import RunFolder
    from tinylm.training.checkpoint import load_run_model
    from tinylm.training.window_losses import model_losses

    run = RunFolder(folder)
    model, tokenizer, state = load_run_model(run)
    return _Subject(
        lambda windows: model_losses(model, windows),
        tokenizer,
        model.config.context_length,
        state.stage == "finetune",
        run.held_out(state.stage),
    )


def _open_bundle(folder: Path) -> _Subject:
    from tinylm.runtime import ChatModel
    from tinylm.runtime.scoring import decode_losses

    model = ChatModel(folder)
    return _Subject(
        lambda windows: decode_losses(model.session, windows),
        model.tokenizer,
        model.session.context_length,
        model.manifest.chat,
        folder,
    )


def _held_out(folder: Path, path: Path) -> TokenSequences:
    from tinylm.evaluation import TokenSequences

    if not path.is_file():
        raise RunError(f"{folder}: trained without held-out data; give --data FILE")
    return TokenSequences.load(path)


def _with_progress(losses: Losses, name: str) -> Losses:
    """The same, a few windows at a time with a bar on a terminal."""

    def summed(windows: Sequence[Window]) -> float:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        # Those of like length together, so that little is computed for padding
        ordered = sorted(windows, key=lambda window: len(window.inputs))
        starts = range(0, len(ordered), _WINDOWS_AT_ONCE)
        shown = track(starts, name, console=console, transient=True, disable=not console.is_terminal)
        return sum(losses(ordered[start : start + _WINDOWS_AT_ONCE]) for start in shown)

    return summed


def _values(scores: dict[str, Score]) -> dict[str, Any]:
    """As `--json` shows it: of all files together, and of each where there are several."""

    def of(result: Score) -> dict[str, Any]:
        return {
            "bits_per_byte": result.bits_per_byte,
            "loss": result.loss,
            "tokens": result.tokens,
            "bytes": result.bytes,
        }

    values = of(_total(scores))
    if len(scores) > 1:
        values["files"] = [{"file": name, **of(result)} for name, result in scores.items()]
    return values


def _total(scores: dict[str, Score]) -> Score:
    from tinylm.evaluation import Score

    results = scores.values()
    return Score(
        sum(result.nll for result in results),
        sum(result.tokens for result in results),
        sum(result.bytes for result in results),
    )


def _print_scores(scores: dict[str, Score]) -> None:
    """A line a file, and one of all where there are several."""
    named = [(printable(Path(name).name), result) for name, result in scores.items()]
    if len(named) > 1:
        named.append(("all", _total(scores)))
    width = max(len(name) for name, _ in named)
    click.echo(f"{'':{width}}  bits per byte  loss (nats a token)      tokens       bytes")
    for name, result in named:
        click.echo(
            f"{name:{width}}  {result.bits_per_byte:>13.4f}  {result.loss:>19.4f}  "
            f"{result.tokens:>10,}  {result.bytes:>10,}"
        )


def _print_world(values: dict[str, Any]) -> None:
    click.echo(f"replies right                      {values['accuracy']:>8.2%}  of {values['n']:,}")
    click.echo(f"of facts told in earlier turns     {values['recall_accuracy']:>8.2%}")
    click.echo(f"always the one commonest reply     {values['baseline_accuracy']:>8.2%}")


def _score_world(folder: Path, is_run: bool, failures: int) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    from tinylm.data.world import score_world, test_items
    from tinylm.runtime.chat import reply_to
    from tinylm.runtime.sampling import SamplingOptions

    decoder, tokenizer = _decoder_of(folder, is_run)
    greedy = SamplingOptions(temperature=0, max_new_tokens=64)
    too_long = 0

    def answer(conversation: Conversation) -> str:
        nonlocal too_long
        progress.advance(task)
        try:
            return reply_to(decoder, tokenizer, conversation, greedy)
        except ContextFullError:
            too_long += 1
            return ""

    items = test_items()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("the demo world", total=len(items))
        result = score_world(answer, items)
    if too_long:
        notice(f"{too_long:,} do not fit the context of {decoder.context_length:,} tokens and count as wrong")
    for item, reply in result.failures[:failures]:
        for message in item.conversation:
            say(f"{message['role']:>10}: {message['content']}")
        say(f"{'reply':>10}: {reply}\n{'expected':>10}: {item.expected}\n")
    return {
        "accuracy": result.accuracy,
        "recall_accuracy": result.recall_accuracy,
        "baseline_accuracy": result.baseline_accuracy,
        "n": result.n,
    }


def _decoder_of(folder: Path, is_run: bool) -> tuple[Decoder, Tokenizer]:
    if is_run:
        from tinylm.run_folder import RunFolder
        from tinylm.training.checkpoint import load_run_model
        from tinylm.training.torch_decoder import TorchDecoder

        model, tokenizer, _ = load_run_model(RunFolder(folder))
        return TorchDecoder(model), tokenizer
    from tinylm.runtime import ChatModel

    bundle = ChatModel(folder)
    return bundle.session, bundle.tokenizer
