"""A stage of training from its files: read, held-out split, tokenization, packing, provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm.chat_format import Conversation
from tinylm.config import Config
from tinylm.data.dataset import (
    Example,
    PackedRows,
    pack_conversations,
    pack_documents,
    split_held_out,
    tokenize_conversations,
    tokenize_documents,
)
from tinylm.data.readers import iter_conversations, iter_documents
from tinylm.data.summary import ReadSummary
from tinylm.errors import DataError
from tinylm.evaluation import TokenSequences
from tinylm.files import sha256_of
from tinylm.tokenizer import Tokenizer


@dataclass(frozen=True)
class StageTexts:
    """What a stage trains on and what it is measured on, as text.

    Attributes:
        training, held_out: documents of pre-training, or conversations of fine-tuning.
        facts: files with their SHA-256, and counts.
    """

    training: list[str] | list[Conversation]
    held_out: list[str] | list[Conversation]
    facts: dict[str, Any]

    def texts(self) -> Iterator[str]:
        """Every training text, for the tokenizer."""
        for example in self.training:
            if isinstance(example, str):
                yield example
            else:
                for message in example:
                    yield message["content"]


@dataclass(frozen=True)
class StageData:
    """A stage's rows for training and its held-out sequences; there may be none of the latter."""

    rows: PackedRows
    held_out: TokenSequences


def read_pretraining(
    paths: Sequence[Path], validation_fraction: float, notify: Callable[[str], None] = lambda _: None
) -> StageTexts:
    """Documents of files of raw text.

    Raises:
        DataError: a file cannot be read as such.
    """
    return _read(iter_documents, paths, validation_fraction, notify)


def read_finetuning(
    paths: Sequence[Path], validation_fraction: float, notify: Callable[[str], None] = lambda _: None
) -> StageTexts:
    """Conversations of files.

    Raises:
        DataError: a file cannot be read as such.
    """
    return _read(iter_conversations, paths, validation_fraction, notify)


def prepare_pretraining(texts: StageTexts, tokenizer: Tokenizer, config: Config, threads: int) -> StageData:
    """Tokenize and pack documents."""
    documents = [text for text in texts.training if isinstance(text, str)]
    held_out = [text for text in texts.held_out if isinstance(text, str)]
    sequences = tokenize_documents(documents, tokenizer, threads=threads)
    rows = pack_documents(sequences, tokenizer, config.model.context_length, config.train.seed)
    return StageData(rows, tokenize_documents(held_out, tokenizer, threads=threads))


def prepare_finetuning(
    texts: StageTexts, tokenizer: Tokenizer, config: Config, notify: Callable[[str], None] = lambda _: None
) -> StageData:
    """Tokenize and pack conversations; `notify` is told what did not fit the context.

    Raises:
        DataError: no conversation has a reply that fits.
    """
    conversations = [example for example in texts.training if not isinstance(example, str)]
    held_out = [example for example in texts.held_out if not isinstance(example, str)]
    context = config.model.context_length
    try:
        rows = pack_conversations(conversations, tokenizer, context, config.train.seed)
    except ValueError as error:
        names = ", ".join(file["name"] for file in texts.facts["files"])
        raise DataError(names, None, f"{error}; try a longer model.context_length") from None
    notes = rows.notes
    if notes["cut_between_turns"]:
        notify(
            f"{notes['cut_between_turns']:,} of {notes['conversations']:,} conversations are longer than the context "
            f"of {context:,} tokens: they are cut between turns"
        )
    if notes["turns_truncated"] or notes["parts_without_reply"]:
        notify(
            f"{notes['turns_truncated']:,} turns are longer than the context and lose their end, "
            f"{notes['parts_without_reply']:,} parts have no reply in them and are left out"
        )
    return StageData(rows, tokenize_conversations(held_out, tokenizer))


def _read(
    reader: Callable[[Path, ReadSummary], Iterator[Example]],
    paths: Sequence[Path],
    validation_fraction: float,
    notify: Callable[[str], None],
) -> StageTexts:
    examples: list[Example] = []
    for path in paths:
        summary: ReadSummary = ReadSummary(path)
        examples.extend(reader(path, summary))
        notify(summary.headline())
        for sentence in summary.sentences():
            notify(sentence)
    training, held_out = split_held_out(examples, validation_fraction, notify=notify)
    files = [{"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths]
    return StageTexts(training, held_out, {"files": files, "examples": len(training), "held_out": len(held_out)})
