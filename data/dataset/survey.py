"""The survey of a stage's files: counts, hashes and the held-out split; and the tokenizer of all stages.

It takes one reading of the files and bounded memory, and is kept in a `DataCache`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinylm.chat_format import CHAT_FORMAT_VERSION, Conversation, Example, texts_of
from tinylm.config import Config, TokenizerConfig, config_values
from tinylm.data.dataset.disk_cache import DataCache, key_of
from tinylm.data.dataset.held_out import HeldOut, HeldOutSplit, content_hash
from tinylm.data.dataset.reservoir import BoundedSample
from tinylm.data.readers.front_door import iter_conversations, iter_documents
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.paths import DataFile
from tinylm.data.readers.read_summary import ReadSummary, summed_up
from tinylm.data.readers.sources import check_regular, inner_suffix, iter_bytes
from tinylm.errors import DataError
from tinylm.files import sha256_of
from tinylm.run_folder import StageName
from tinylm.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

Notify = Callable[[str], None]

# Increased when readers, the split or the tokenizer give another result for a file
_FORMAT = 4
_PIECE_CHARACTERS = 16_384
_MAX_REPORTED_FILES = 20
_MODEL = "tokenizer.model"


@dataclass(frozen=True)
class SurveyedFile:
    """A file and what it holds.

    Attributes:
        path, weight: as the user gave them.
        sha256, bytes, modified: of the file; the last in nanoseconds, to detect a change while it is read.
        examples: number of documents or conversations, held-out ones included.
        text_bytes: UTF-8 bytes of their text.
        report: lines on how it was read and what was left out, without the file's name.
    """

    path: str
    weight: float
    sha256: str
    bytes: int
    modified: int
    examples: int = 0
    text_bytes: int = 0
    report: tuple[str, ...] = ()

    def check_unchanged(self) -> None:
        """Check that the file has not changed since it was hashed.

        Raises:
            DataError: it has.
        """
        try:
            stat = Path(self.path).stat()
            unchanged = (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.modified)
        except OSError:
            unchanged = False
        if not unchanged:
            raise DataError(self.path, None, "changed while it was read; start again")


@dataclass(frozen=True)
class Survey:
    """What the files of a stage hold.

    Attributes:
        stage: the stage.
        files: each file with its counts.
        split: which examples are held out.
        key: equal for equal files and settings.
        options: how the files are read.
    """

    stage: StageName
    files: tuple[SurveyedFile, ...]
    split: HeldOutSplit
    key: str
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def text_bytes(self) -> float:
        """UTF-8 bytes of text in an epoch: a file counts as often as its weight says."""
        return sum(file.weight * file.text_bytes for file in self.files)

    def examples(self) -> Iterator[Example]:
        """Read all examples of all files.

        Raises:
            DataError: a file has changed since it was surveyed.
        """
        for file in self.files:
            yield from self.examples_of(file)

    def examples_of(self, file: SurveyedFile) -> Iterator[Example]:
        """Read the examples of one file; see `examples`."""
        yield from _READERS[self.stage](file.path, ReadSummary(file.path), self.options)
        file.check_unchanged()


class TextSample:
    """A uniform sample of all text, for the tokenizer, in bounded memory.

    Args:
        max_bytes: approximate size of the sample.
    """

    def __init__(self, max_bytes: int) -> None:
        self._sample: BoundedSample[tuple[StageName, bytes, int, str]] = BoundedSample(max_bytes)

    def add(self, stage: StageName, key: bytes, example: Example) -> None:
        """Offer an example to the sample; a long text is sampled in pieces.

        Args:
            stage: of the example.
            key: its content hash.
            example: a document or a conversation.
        """
        for text in texts_of(example):
            for start in range(0, len(text), _PIECE_CHARACTERS):
                piece = text[start : start + _PIECE_CHARACTERS]
                self._sample.add((stage, key, start, piece), len(piece))

    def texts(self, splits: Mapping[StageName, HeldOutSplit]) -> Iterator[str]:
        """Yield the texts of the sample without those that are held out."""
        for stage, key, start, piece in self._sample.items:
            split = splits[stage]
            if key not in split.keys:
                text = piece if split.cut is None else piece[: max(0, split.cut - start)]
                yield from split.without_passages(text)


def survey_files(
    stage: StageName,
    files: Sequence[DataFile],
    validation_fraction: float,
    cache: DataCache,
    *,
    sample: TextSample | None = None,
    options: ReadOptions | None = None,
    notify: Notify = lambda _: None,
) -> tuple[Survey, bool]:
    """Count what files hold and decide what is held out.

    Args:
        stage: pre-training reads documents, fine-tuning conversations.
        files: at least one.
        validation_fraction: share of the examples to hold out.
        cache: holds surveys of files.
        sample: receives every example that is read.
        options: how the files are read.
        notify: receives lines that the user should read: how each file was read, and what was left out.

    Returns:
        the survey, and whether files were read for it; else it is from the cache.

    Raises:
        DataError: a file cannot be read as documents or conversations.
    """
    facts = [_hashed(file) for file in files]
    names = [[fact.sha256, inner_suffix(fact.path)] for fact in facts]
    options = options or ReadOptions()
    key = key_of("survey", _FORMAT, stage, names, validation_fraction, CHAT_FORMAT_VERSION, options.key)
    entry = cache.find("survey", key)
    if entry is None:
        found, split = _read_files(stage, facts, HeldOut(validation_fraction), sample, options)
        values = {
            "split": split.as_json(),
            "files": [
                {"examples": file.examples, "text_bytes": file.text_bytes, "report": list(file.report)}
                for file in found
            ],
        }
        cache.make("survey", key, lambda _: values)
    else:
        split = HeldOutSplit.from_json(entry.facts["split"])
        found = [
            replace(fact, **{**known, "report": tuple(known["report"])})
            for fact, known in zip(facts, entry.facts["files"], strict=True)
        ]
    for line in _report(found):
        notify(line)
    for note in split.notes:
        notify(note)
    return Survey(stage, tuple(found), split, key, options), entry is None


def hold_out_together(surveys: Sequence[Survey]) -> list[Survey]:
    """Hold out of each stage what is held out of the other: equal examples, and conversations inside raw text.

    Args:
        surveys: of the stages that are trained together.
    """
    if len(surveys) < 2:
        return list(surveys)
    keys = frozenset[bytes]().union(*(survey.split.keys for survey in surveys))
    together: list[Survey] = []
    for survey in surveys:
        others = [other.split for other in surveys if other is not survey]
        passages = tuple(turns for split in others for turns in split.conversations)
        if survey.stage != "pretrain":
            passages = ()
        split = replace(survey.split, keys=keys, passages=passages)
        key = key_of("together", survey.key, sorted(key.hex() for key in keys), passages)
        together.append(replace(survey, split=split, key=key))
    return together


def find_tokenizer(
    surveys: Sequence[Survey],
    vocab_size: int,
    config: TokenizerConfig,
    cache: DataCache,
    *,
    sample: TextSample | None = None,
    notify: Notify = lambda _: None,
) -> tuple[Tokenizer, bool]:
    """Train the tokenizer of all stages on what is not held out, or find it in the cache.

    Args:
        surveys: of all stages.
        vocab_size: number of ids.
        config: see `TokenizerConfig`.
        cache: holds tokenizers.
        sample: of all examples of all stages; None: the files are read for it if it is needed.
        notify: receives lines that the user should read.

    Returns:
        the tokenizer, and whether it was trained; else it is from the cache.

    Raises:
        TinyLMError: there is no text to train on.
    """
    settings = config_values(Config(tokenizer=config))["tokenizer"]
    key = key_of(
        "tokenizer", _FORMAT, [survey.key for survey in surveys], vocab_size, settings, sentencepiece_version()
    )
    entry = cache.find("tokenizer", key)
    if entry is not None:
        for note in entry.facts["notes"]:
            notify(note)
        return load_tokenizer(entry.path / _MODEL), False
    sample = sample or _sample_of(surveys, int(config.max_sample_megabytes * 1e6))
    notes: list[str] = []
    splits = {survey.stage: survey.split for survey in surveys}
    tokenizer = train_tokenizer(sample.texts(splits), vocab_size, config, notify=notes.append)
    for note in notes:
        notify(note)

    def fill(folder: Path) -> dict[str, Any]:
        (folder / _MODEL).write_bytes(tokenizer.serialized())
        return {"notes": notes}

    cache.make("tokenizer", key, fill)
    return tokenizer, True


def sentencepiece_version() -> str:
    """The version of SentencePiece, on which tokens depend beside the model."""
    return version("sentencepiece")


def _read_files(
    stage: StageName,
    files: Sequence[SurveyedFile],
    held_out: HeldOut,
    sample: TextSample | None,
    options: ReadOptions,
) -> tuple[list[SurveyedFile], HeldOutSplit]:
    found: list[SurveyedFile] = []
    for file in files:
        summary = ReadSummary(file.path)
        text_bytes = 0
        for example in _READERS[stage](file.path, summary, options):
            key = held_out.add(example)
            text_bytes += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts_of(example))
            if sample is not None:
                sample.add(stage, key, example)
        file.check_unchanged()
        prefix = f"{file.path}: "
        report = tuple(line.removeprefix(prefix) for line in (summary.headline(), *summary.sentences()))
        found.append(replace(file, examples=summary.kept, text_bytes=text_bytes, report=report))
    return found, held_out.decide()


def _sample_of(surveys: Sequence[Survey], max_bytes: int) -> TextSample:
    sample = TextSample(max_bytes)
    for survey in surveys:
        for example in survey.examples():
            sample.add(survey.stage, content_hash(example), example)
    return sample


def _report(files: Sequence[SurveyedFile]) -> Iterator[str]:
    """Lines on how files were read; for many files, a summary."""
    if len(files) > _MAX_REPORTED_FILES:
        yield f"{len(files):,} files: {sum(file.examples for file in files):,} read"
        yield from summed_up((file.path, file.report[1:]) for file in files)
        return
    for file in files:
        for line in file.report:
            yield f"{file.path}: {line}"


def _hashed(file: DataFile) -> SurveyedFile:
    """Hash a file.

    Raises:
        DataError: it cannot be opened.
    """
    path = file.path
    try:
        check_regular(path)
        stat = path.stat()
        return SurveyedFile(str(path), file.weight, sha256_of(path), stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        # Raises a DataError that says what is wrong
        next(iter_bytes(path), None)
        raise


_READERS: dict[StageName, Callable[[str, ReadSummary, ReadOptions], Iterator[str] | Iterator[Conversation]]] = {
    "pretrain": iter_documents,
    "finetune": iter_conversations,
}
