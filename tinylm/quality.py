"""Measure a run or a bundle: bits per byte, replies in held-out conversations and in the bundled world, and suites.

A run is measured with torch, a bundle through the runtime's own decode path; a bundle needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm.chat_format import Conversation
from tinylm.config import StrPath
from tinylm.errors import ContextFullError, DataError, RunError, TinyLMError
from tinylm.evaluation import Score, TokenSequences, Window, byte_lengths_of, make_windows, score
from tinylm.manifest import read_manifest
from tinylm.measured_model import MeasuredModel, is_run, open_model
from tinylm.reply_quality import Progress, ReplyModel, ReplyQuality, conversations_of, measure_replies
from tinylm.reply_ranking import DEFAULT_REPLIES
from tinylm.run_folder import RunFolder

if TYPE_CHECKING:
    from tinylm.data.dataset.sequences import FileKind
    from tinylm.data.readers.options import ReadOptions
    from tinylm.data.world import WorldScore
    from tinylm.suite_scoring import SuiteScore

DEFAULT_POSITIONS = 4096
"""Counted positions of each file that are scored unless all are asked for."""

HELD_OUT = "held-out data"
"""The name of a run's held-out data among the scores."""

_WINDOWS_AT_ONCE = 32
_WORLD_TOKENS = 64

HeldOut = Mapping[str, TokenSequences]
"""Held-out data by its name: the path of a file, or `HELD_OUT`."""

Notify = Callable[[str], None]


def evaluate(
    model: StrPath | MeasuredModel,
    data: Sequence[StrPath] | HeldOut = (),
    *,
    kind: FileKind | None = None,
    full: bool = False,
    notify: Notify = lambda _: None,
    progress: Progress = lambda _name, _done, _all: None,
) -> dict[str, Score]:
    """Score a run or a bundle: bits per byte.

    Args:
        model: the folder of the run or bundle, or what `open_model` returned for it.
        data: files of text or conversations, or what `read_held_out` returned for them; none: a run's held-out data.
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
    measured, held_out = _opened(model, data, kind, notify)
    byte_lengths = byte_lengths_of(measured.tokenizer)
    scores: dict[str, Score] = {}
    for path, sequences in held_out.items():
        name = Path(path).name
        if not measured.is_chat and not sequences.supervised.all():
            notify(f"{measured.folder} was never fine-tuned: it has not learned the form of conversations")
        positions = None if full else DEFAULT_POSITIONS
        windows = make_windows(sequences, measured.decoder.context_length, measured.tokenizer.bos_id, positions)
        if not windows:
            raise DataError(path, None, "no reply of an assistant in it, so nothing to score; give another file")
        losses = _in_groups(measured.losses, partial(progress, name))
        result = scores[path] = score(losses, windows, byte_lengths)
        counted = int(sequences.supervised.sum())
        if result.tokens < counted:
            notify(f"{name}: {result.tokens:,} of {counted:,} tokens scored, spread over the file; --full scores all")
    return scores


def evaluate_replies(
    model: StrPath | MeasuredModel,
    data: Sequence[StrPath] | HeldOut = (),
    *,
    train_data: Sequence[StrPath] = (),
    options: ReadOptions | None = None,
    limit: int | None = DEFAULT_REPLIES,
    notify: Notify = lambda _: None,
    progress: Progress = lambda _name, _done, _all: None,
) -> ReplyQuality | None:
    """Measure the replies of a run or a bundle in held-out conversations; see `tinylm.reply_quality`.

    Args:
        model: as for `evaluate`.
        data: likewise; the conversations of all files together.
        train_data: files, folders and globs that the model was trained on; none: those of the run.
        options: how `train_data` is read.
        limit: number of replies, chosen by a fixed seed; None: all.
        notify: receives lines that the user should read.
        progress: receives how many replies are measured.

    Returns:
        None where there are no conversations.

    Raises:
        DataError: a file cannot be read.
        RunError: the run is incomplete, or has no held-out data and there are no files.
        TinyLMError: the bundle is broken, or there are no files for it.
    """
    measured, held_out = _opened(model, data, None, notify)
    conversations = [
        conversation
        for sequences in held_out.values()
        for conversation in conversations_of(sequences, measured.tokenizer)
    ]
    if not any(message["role"] == "assistant" for conversation in conversations for message in conversation[1:]):
        return None
    return measure_replies(
        ReplyModel(measured.decoder, measured.continuation_losses, measured.tokenizer),
        conversations,
        limit=limit,
        training_texts=_training_texts(measured.folder, train_data, options, notify),
        progress=progress,
    )


def read_held_out(
    model: MeasuredModel,
    files: Sequence[StrPath] = (),
    *,
    kind: FileKind | None = None,
    options: ReadOptions | None = None,
    notify: Notify = lambda _: None,
) -> HeldOut:
    """Read what a model is measured on; see `evaluate`.

    Args:
        model: the model, whose tokenizer is used.
        files: see `data` there.
        kind: see there.
        options: how the files are read.
        notify: receives lines that the user should read.
    """
    from tinylm.data.dataset.sequences import read_sequences

    if files:
        paths = map(Path, files)
        tokenizer = model.tokenizer
        return {str(path): read_sequences(path, tokenizer, kind, options=options, notify=notify) for path in paths}
    if model.held_out is None:
        check_has_held_out(model.folder)
    if model.held_out is None or not model.held_out.is_file():
        raise RunError(f"{model.folder}: trained without held-out data; give --data FILE")
    return {HELD_OUT: TokenSequences.load(model.held_out)}


def evaluate_world(
    model: StrPath, *, notify: Notify = lambda _: None, progress: Progress = lambda _name, _done, _all: None
) -> WorldScore:
    """Score the greedy replies of a run or a bundle in the bundled world, to questions written apart from training.

    Args:
        model: the folder of the run or bundle.
        notify: receives lines that the user should read.
        progress: receives how many conversations are over.

    Raises:
        TinyLMError: the run or bundle cannot be opened.
    """
    from tinylm.data.world import score_world, test_items
    from tinylm.runtime.chat import reply_to
    from tinylm.runtime.sampling import SamplingOptions

    measured = open_model(model)
    greedy = SamplingOptions(temperature=0, max_new_tokens=_WORLD_TOKENS)
    items = test_items()
    played = too_long = 0

    def reply(conversation: Conversation) -> str:
        nonlocal too_long
        try:
            return reply_to(measured.decoder, measured.tokenizer, conversation, greedy)
        except ContextFullError:
            too_long += 1
            return ""

    def count_one() -> None:
        nonlocal played
        played += 1
        progress("bundled world", played, len(items))

    result = score_world(reply, items, count_one)
    if too_long:
        context = measured.decoder.context_length
        notify(f"{too_long:,} do not fit the context of {context:,} tokens and count as wrong")
    return result


def evaluate_suite(
    model: StrPath | MeasuredModel,
    suites: Sequence[StrPath],
    *,
    notify: Notify = lambda _: None,
    progress: Progress = lambda _name, _done, _all: None,
) -> SuiteScore:
    """Score a run or a bundle on suites of minimal pairs or multiple choice; see `tinylm.suite_scoring`.

    Args:
        model: as for `evaluate`.
        suites: names of bundled suites, or files; all their items together.
        notify: receives lines that the user should read.
        progress: receives how many items are scored.

    Raises:
        DataError: there is no such suite, a file cannot be read, or nothing fits the model's context.
        TinyLMError: the run or bundle cannot be opened.
    """
    from tinylm.data.suites import read_suite
    from tinylm.suite_scoring import score_suite

    items = [item for suite in suites for item in read_suite(suite)]
    measured = model if isinstance(model, MeasuredModel) else open_model(model)
    result = score_suite(
        measured.decoder, measured.continuation_losses, measured.tokenizer, items, partial(progress, "suite")
    )
    context = measured.decoder.context_length
    if not result.answers:
        raise DataError(suites[0], None, f"no item fits the model's context of {context:,} tokens")
    if len(result.answers) < len(items):
        notify(f"{len(items) - len(result.answers):,} items do not fit the context of {context:,} tokens: left out")
    return result


def _opened(
    model: StrPath | MeasuredModel, data: Sequence[StrPath] | HeldOut, kind: FileKind | None, notify: Notify
) -> tuple[MeasuredModel, HeldOut]:
    """Open and read what is not yet."""
    if isinstance(data, Mapping):
        return model if isinstance(model, MeasuredModel) else open_model(model), data
    if not isinstance(model, MeasuredModel):
        if not data:
            check_has_held_out(model)
        model = open_model(model)
    return model, read_held_out(model, data, kind=kind, notify=notify)


def check_has_held_out(path: StrPath) -> None:
    """Make sure that a model can be measured without files: that it is no bundle.

    Raises:
        BundleError: it is neither run nor bundle.
        TinyLMError: it is a bundle.
    """
    folder = Path(path)
    if not is_run(folder):
        read_manifest(folder)  # that this is no bundle at all is the first thing to say
        raise TinyLMError(f"{folder}: a bundle holds no held-out text: give --data FILE, or --world")


def _training_texts(
    folder: Path, files: Sequence[StrPath], options: ReadOptions | None, notify: Notify
) -> Iterable[str] | None:
    """The texts that a model was trained on; None where they are not known."""
    from tinylm.data.dataset.preparation import Preparation
    from tinylm.data.readers.front_door import iter_documents
    from tinylm.data.readers.paths import find_files
    from tinylm.data.readers.read_summary import ReadSummary

    if files:
        found = find_files([str(path) for path in files], notify)
        return chain.from_iterable(iter_documents(file.path, ReadSummary(file.path), options) for file in found)
    problem = "a bundle does not name them"
    if is_run(folder):
        try:
            run = RunFolder(folder)
            preparation = Preparation(run.load_config(), trains_tokenizer=False)
            preparation.check_unchanged(run)
        except TinyLMError as error:
            problem = str(error)
        else:
            if preparation.surveys:
                return preparation.training_texts()
            problem = "the run names none"
    notify(f"not compared with the texts of training ({problem}): give them with --train-data PATH")
    return None


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
