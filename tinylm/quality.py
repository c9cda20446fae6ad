"""Measure a run or a bundle: bits per byte on text and conversations, or right replies in the bundled world.

A run is measured with torch, a bundle through the runtime's own decode path; a bundle needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinylm.chat_format import Conversation
from tinylm.config import StrPath
from tinylm.errors import ContextFullError, DataError, RunError, TinyLMError
from tinylm.evaluation import Score, TokenSequences, Window, byte_lengths_of, make_windows, score
from tinylm.manifest import read_manifest
from tinylm.run_folder import RunFolder

if TYPE_CHECKING:
    from tinylm.data.world import WorldScore
    from tinylm.runtime.session import Decoder
    from tinylm.tokenizer import Tokenizer

DEFAULT_POSITIONS = 4096
"""Counted positions of each file that are scored unless all are asked for."""

HELD_OUT = "held-out data"
"""The name of a run's held-out data among the scores."""

_WINDOWS_AT_ONCE = 32
_WORLD_TOKENS = 64

Notify = Callable[[str], None]
Progress = Callable[[str, int, int], None]
"""Receives what is being scored, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class MeasuredModel:
    """A run or a bundle, opened.

    Attributes:
        losses: computes the summed negative log-likelihood, in nats, of windows.
        decoder: the model token by token.
        tokenizer: of the model.
        is_chat: whether it was fine-tuned on conversations.
        held_out: a run's held-out data; None for a bundle.
    """

    losses: Callable[[Sequence[Window]], float]
    decoder: Decoder
    tokenizer: Tokenizer
    is_chat: bool
    held_out: Path | None


def evaluate(
    model: StrPath,
    data: Sequence[StrPath] = (),
    *,
    kind: Literal["text", "conversations"] | None = None,
    full: bool = False,
    notify: Notify = lambda _: None,
    progress: Progress = lambda _name, _done, _all: None,
) -> dict[str, Score]:
    """Score a run or a bundle.

    Args:
        model: the folder of the run or bundle.
        data: files of text or conversations; none: a run's held-out data.
        kind: what the files hold; None: conversations where there are some, but text for .txt and .md.
        full: score all positions and not `DEFAULT_POSITIONS` of each file, spread over it.
        notify: receives lines that the user should read.
        progress: receives how many windows of a file are scored.

    Returns:
        the score on each file, by its path; on a run's held-out data by the name `HELD_OUT`.

    Raises:
        DataError: a file cannot be read, or has nothing to score.
        RunError: the run is incomplete, or has no held-out data and there are no files.
        TinyLMError: the bundle is broken, or there are no files for it.
    """
    from tinylm.data.dataset.sequences import read_sequences

    folder = Path(model)
    if not data and not _is_run(folder):
        read_manifest(folder)  # that this is no bundle at all is the first thing to say
        raise TinyLMError(f"{folder}: a bundle holds no held-out text: give --data FILE, or --world")
    measured = open_model(folder)
    byte_lengths = byte_lengths_of(measured.tokenizer)
    scores: dict[str, Score] = {}
    for path in map(Path, data or [measured.held_out or folder]):
        name = path.name if data else HELD_OUT
        sequences = read_sequences(path, measured.tokenizer, kind, notify) if data else _load_held_out(folder, path)
        if not measured.is_chat and not sequences.supervised.all():
            notify(f"{folder} was never fine-tuned: it has not learned the form of conversations")
        positions = None if full else DEFAULT_POSITIONS
        windows = make_windows(sequences, measured.decoder.context_length, measured.tokenizer.bos_id, positions)
        if not windows:
            raise DataError(path, None, "no reply of an assistant in it, so nothing to score; give another file")
        losses = _in_groups(measured.losses, partial(progress, name))
        result = scores[str(path) if data else name] = score(losses, windows, byte_lengths)
        counted = int(sequences.supervised.sum())
        if result.tokens < counted:
            notify(f"{name}: {result.tokens:,} of {counted:,} tokens scored, spread over the file; --full scores all")
    return scores


def evaluate_world(
    model: StrPath, *, notify: Notify = lambda _: None, progress: Progress = lambda _name, _done, _all: None
) -> WorldScore:
    """Score the greedy replies of a run or a bundle in the bundled world, on phrasings that training never saw.

    Args:
        model: the folder of the run or bundle.
        notify: receives lines that the user should read.
        progress: receives how many questions are asked.

    Raises:
        TinyLMError: the run or bundle cannot be opened.
    """
    from tinylm.data.world import score_world, test_items
    from tinylm.runtime.chat import reply_to
    from tinylm.runtime.sampling import SamplingOptions

    measured = open_model(Path(model))
    greedy = SamplingOptions(temperature=0, max_new_tokens=_WORLD_TOKENS)
    items = test_items()
    asked = too_long = 0

    def reply(conversation: Conversation) -> str:
        nonlocal asked, too_long
        asked += 1
        progress("bundled world", asked, len(items))
        try:
            return reply_to(measured.decoder, measured.tokenizer, conversation, greedy)
        except ContextFullError:
            too_long += 1
            return ""

    result = score_world(reply, items)
    if too_long:
        context = measured.decoder.context_length
        notify(f"{too_long:,} do not fit the context of {context:,} tokens and count as wrong")
    return result


def open_model(folder: Path) -> MeasuredModel:
    """Open a run or a bundle to measure it.

    Raises:
        TinyLMError: it is neither, or broken.
    """
    return _open_run(folder) if _is_run(folder) else _open_bundle(folder)


def _is_run(folder: Path) -> bool:
    return RunFolder(folder).config.is_file()


def _open_run(folder: Path) -> MeasuredModel:
    from tinylm.training.checkpoint import load_run_model
    from tinylm.training.torch_decoder import TorchDecoder
    from tinylm.training.window_losses import model_losses

    run = RunFolder(folder)
    model, tokenizer, state = load_run_model(run)
    return MeasuredModel(
        losses=lambda windows: model_losses(model, windows),
        decoder=TorchDecoder(model),
        tokenizer=tokenizer,
        is_chat=state.stage == "finetune",
        held_out=run.held_out(state.stage),
    )


def _open_bundle(folder: Path) -> MeasuredModel:
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.scoring import decode_losses

    model = ChatModel(folder)
    return MeasuredModel(
        losses=lambda windows: decode_losses(model.session, windows),
        decoder=model.session,
        tokenizer=model.tokenizer,
        is_chat=model.manifest.chat,
        held_out=None,
    )


def _load_held_out(folder: Path, path: Path) -> TokenSequences:
    if not path.is_file():
        raise RunError(f"{folder}: trained without held-out data; give --data FILE")
    return TokenSequences.load(path)


def _in_groups(
    losses: Callable[[Sequence[Window]], float], progress: Callable[[int, int], None]
) -> Callable[[Sequence[Window]], float]:
    """Compute losses a few windows at a time, those of like length together, so that little is padded."""

    def groups(windows: Sequence[Window]) -> Iterator[float]:
        ordered = sorted(windows, key=lambda window: len(window.inputs))
        for start in range(0, len(ordered), _WINDOWS_AT_ONCE):
            group = ordered[start : start + _WINDOWS_AT_ONCE]
            yield losses(group)
            progress(start + len(group), len(ordered))

    return lambda windows: sum(groups(windows))
