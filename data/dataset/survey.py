"""What the files of a stage hold, which of it is held out, and the tokenizer that is trained on the rest.

Everything is found in one reading, in bounded memory, and kept in a `DataCache`.
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
from tinylm.tokenizer import Tokenizer, train_tokenizer

Notify = Callable[[str], None]

# Raised by whoever changes what readers, the split or the tokenizer make of a file
_FORMAT = 3
_PIECE_CHARACTERS = 16_384
_SAID_ONE_BY_ONE = 20
_MODEL = "tokenizer.model"


@dataclass(frozen=True)
class SurveyedFile:
    """What a file holds.

    Attributes:
        path, weight: as the user gave them.
        sha256, bytes, modified: of the file; the last in nanoseconds, to notice that it changes while it is read.
        examples: documents or conversations in it, held-out ones included.
        text_bytes: UTF-8 bytes of their text.
        report: how it was read and what was left out, a line each, without the file's name.
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
        """See that the file is what was hashed.

        Raises:
            DataError: it is not.
        """
        try:
            stat = Path(self.path).stat()
            unchanged = (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.modified)
        except OSError:
            unchanged = False
        if not unchanged:
            raise DataError(self.path, None, "changed while it was read; begin again")


@dataclass(frozen=True)
class Survey:
    """What the files of a stage hold.

    Attributes:
        stage: which one.
        files: one by one.
        split: what of them is held out.
        key: the same for equal files and equal settings.
        options: how the files are read.
    """

    stage: StageName
    files: tuple[SurveyedFile, ...]
    split: HeldOutSplit
    key: str
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def text_bytes(self) -> float:
        """UTF-8 bytes of text in an epoch, weights counted."""
        return sum(file.weight * file.text_bytes for file in self.files)

    def examples(self) -> Iterator[Example]:
        """All examples of all files, read anew.

        Raises:
            DataError: a file is not what it was when it was surveyed.
        """
        for file in self.files:
            yield from self.examples_of(file)

    def examples_of(self, file: SurveyedFile) -> Iterator[Example]:
        """The examples of one file, as `examples` gives them."""
        yield from _READERS[self.stage](file.path, ReadSummary(file.path), self.options)
        file.check_unchanged()


class TextSample:
    """A uniform sample of all text, for the tokenizer, in bounded memory.

    Args:
        max_bytes: of text, about.
    """

    def __init__(self, max_bytes: int) -> None:
        self._sample: BoundedSample[tuple[StageName, bytes, int, str]] = BoundedSample(max_bytes)

    def add(self, stage: StageName, key: bytes, example: Example) -> None:
        """Offer an example by its content hash; a long text comes in pieces."""
        for text in texts_of(example):
            for start in range(0, len(text), _PIECE_CHARACTERS):
                piece = text[start : start + _PIECE_CHARACTERS]
                self._sample.add((stage, key, start, piece), len(piece))

    def texts(self, splits: Mapping[StageName, HeldOutSplit]) -> Iterator[str]:
        """The sample, but for what is held out."""
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
    """Find out what files hold and what of it is held out.

    Args:
        stage: documents of pre-training, or conversations of fine-tuning.
        files: at least one.
        validation_fraction: wanted part of the examples held out.
        cache: where the survey of these very files may be, and goes.
        sample: is offered every example that is read.
        options: how the files are read.
        notify: told how each file was read, what was left out, and what could not be held out.

    Returns:
        the survey, and whether files were read for it; else it is from the cache.

    Raises:
        DataError: a file cannot be read as what it should be.
    """
    facts = [_looked_at(file) for file in files]
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
    """The tokenizer of these stages: from the cache, or trained on what is not held out.

    Args:
        surveys: of all stages.
        vocab_size: ids wanted.
        config: see `TokenizerConfig`.
        cache: where it may be, and goes.
        sample: of all examples of all stages; None: they are read for it where it must be trained.
        notify: told what the user should know.

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
        return Tokenizer.load(entry.path / _MODEL), False
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
    """What else than the model decides about tokens."""
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
    """How files were read; of many, what was left out is summed up."""
    if len(files) > _SAID_ONE_BY_ONE:
        yield f"{len(files):,} files: {sum(file.examples for file in files):,} read"
        yield from summed_up((file.path, file.report[1:]) for file in files)
        return
    for file in files:
        for line in file.report:
            yield f"{file.path}: {line}"


def _looked_at(file: DataFile) -> SurveyedFile:
    """A file by its content.

    Raises:
        DataError: it cannot be opened.
    """
    path = file.path
    try:
        check_regular(path)
        stat = path.stat()
        return SurveyedFile(str(path), file.weight, sha256_of(path), stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        # Which says in a line what is wrong with it
        next(iter_bytes(path), None)
        raise


_READERS: dict[StageName, Callable[[str, ReadSummary, ReadOptions], Iterator[str] | Iterator[Conversation]]] = {
    "pretrain": iter_documents,
    "finetune": iter_conversations,
}
