"""`tinylm eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinylm.cli.console import print_json, say
from tinylm.cli.options import FILE, FOLDER, json_option
from tinylm.errors import DataError, RunError, TinyLMError

if TYPE_CHECKING:
    from tinylm.evaluation import Score, TokenSequences
    from tinylm.runtime.session import Decoder
    from tinylm.tokenizer import Tokenizer

DEFAULT_POSITIONS = 4096


@click.command("eval")
@click.argument("run_or_bundle", type=FOLDER)
@click.option("--data", type=FILE, help="A file of text or conversations.  [default: the run's held-out data]")
@click.option("--world", is_flag=True, help="Score replies in the demo world, on phrasings that training never saw.")
@click.option("--full", is_flag=True, help=f"Score all positions, not some {DEFAULT_POSITIONS:,} spread over the file.")
@click.option("--failures", type=click.IntRange(min=0), default=0, help="With --world: show so many wrong replies.")
@json_option
def command(run_or_bundle: Path, data: Path | None, world: bool, full: bool, failures: int, as_json: bool) -> None:
    """Measure a run or a bundle: bits per byte on text, or replies in the demo world."""
    is_run = (run_or_bundle / "config.toml").is_file()
    if world:
        if data is not None:
            raise click.UsageError("--world brings its own data: give it without --data")
        values = _score_world(run_or_bundle, is_run, failures)
    else:
        score = _score_run(run_or_bundle, data, full) if is_run else _score_bundle(run_or_bundle, data, full)
        values = {
            "bits_per_byte": score.bits_per_byte,
            "loss": score.loss,
            "tokens": score.tokens,
            "bytes": score.bytes,
        }
    if as_json:
        print_json(values)
    else:
        for name, value in values.items():
            click.echo(f"{name:>18}  {value:,.4f}" if isinstance(value, float) else f"{name:>18}  {value:,}")


def _score_run(folder: Path, data: Path | None, full: bool) -> Score:
    from tinylm.checkpoint import RunFolder, load_run_model
    from tinylm.evaluation import TokenSequences, byte_lengths_of, make_windows, score
    from tinylm.window_losses import model_losses

    run = RunFolder(folder)
    model, tokenizer, state = load_run_model(run)
    if data is None:
        path = run.held_out(state.stage)
        if not path.is_file():
            raise RunError(f"{folder}: trained without held-out data; give --data FILE")
        sequences = TokenSequences.load(path)
    else:
        sequences = read_sequences(data, tokenizer)
    windows = make_windows(
        sequences, model.config.context_length, tokenizer.bos_id, None if full else DEFAULT_POSITIONS
    )
    return score(lambda chosen: model_losses(model, chosen), windows, byte_lengths_of(tokenizer))


def _score_bundle(bundle: Path, data: Path | None, full: bool) -> Score:
    from tinylm.evaluation import byte_lengths_of, make_windows, score
    from tinylm.runtime import ChatModel
    from tinylm.runtime.scoring import decode_losses

    model = ChatModel(bundle)
    if data is None:
        raise TinyLMError(f"{bundle}: a bundle holds no held-out text: give --data FILE, or --world")
    sequences = read_sequences(data, model.tokenizer)
    context = model.session.context_length
    windows = make_windows(sequences, context, model.tokenizer.bos_id, None if full else DEFAULT_POSITIONS)
    return score(lambda chosen: decode_losses(model.session, chosen), windows, byte_lengths_of(model.tokenizer))


def read_sequences(path: Path, tokenizer: Tokenizer) -> TokenSequences:
    """A file's documents, or its conversations, as token ids.

    Raises:
        DataError: it holds neither.
    """
    from tinylm.data import iter_documents, load_conversation_data
    from tinylm.data.dataset import tokenize_conversations, tokenize_documents

    if path.suffix.lower() not in {".txt", ".md"}:
        try:
            return tokenize_conversations(load_conversation_data(path), tokenizer)
        except DataError as not_conversations:
            try:
                documents = list(iter_documents(path))
            except DataError:
                raise not_conversations from None
            return tokenize_documents(documents, tokenizer)
    return tokenize_documents(iter_documents(path), tokenizer)


def _score_world(folder: Path, is_run: bool, failures: int) -> dict[str, Any]:
    from tinylm.data.world import score_world, test_items
    from tinylm.runtime.chat import reply_to
    from tinylm.runtime.sampling import SamplingOptions

    decoder, tokenizer = _decoder_of(folder, is_run)
    greedy = SamplingOptions(temperature=0, max_new_tokens=64)
    result = score_world(lambda conversation: reply_to(decoder, tokenizer, conversation, greedy), test_items())
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
        from tinylm.checkpoint import RunFolder, load_run_model
        from tinylm.torch_decoder import TorchDecoder

        model, tokenizer, _ = load_run_model(RunFolder(folder))
        return TorchDecoder(model), tokenizer
    from tinylm.runtime import ChatModel

    bundle = ChatModel(folder)
    return bundle.session, bundle.tokenizer
