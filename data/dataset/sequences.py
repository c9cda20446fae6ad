"""Read a data file of any form as token ids, for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from tinylm.chat_format import Example
from tinylm.data.dataset.tokens import tokenize_all
from tinylm.data.readers.front_door import iter_conversations, iter_documents
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.errors import DataError
from tinylm.evaluation import TokenSequences
from tinylm.tokenizer import Tokenizer

FileKind = Literal["text", "conversations"]

_RAW_TEXT_SUFFIXES = (".txt", ".md")
_BATCH = 1024


def read_sequences(
    path: Path,
    tokenizer: Tokenizer,
    kind: FileKind | None = None,
    *,
    options: ReadOptions | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> TokenSequences:
    """Tokenize the documents or the conversations of a file, without holding its text in memory.

    Args:
        path: the file.
        tokenizer: of the model.
        kind: what it holds; None: conversations where there are some, but raw text for .txt and .md.
        options: how the file is read.
        notify: receives lines that the user should read: how the file was read.

    Raises:
        DataError: it cannot be read as documents or conversations.
    """
    if kind is None and path.suffix.lower() not in _RAW_TEXT_SUFFIXES:
        try:
            return _read(path, tokenizer, "conversations", options, notify)
        except DataError as not_conversations:
            try:
                return _read(path, tokenizer, "text", options, notify)
            except DataError:
                raise not_conversations from None
    return _read(path, tokenizer, kind or "text", options, notify)


def _read(
    path: Path, tokenizer: Tokenizer, kind: FileKind, options: ReadOptions | None, notify: Callable[[str], None]
) -> TokenSequences:
    summary = ReadSummary(path)
    read: Callable[..., Iterator[Example]] = iter_documents if kind == "text" else iter_conversations
    sequences = TokenSequences.concatenate(_tokenized(read(path, summary, options), tokenizer))
    for sentence in (summary.headline(), *summary.sentences()):
        notify(sentence)
    return sequences


def _tokenized(examples: Iterator[Example], tokenizer: Tokenizer) -> Iterator[TokenSequences]:
    while some := list(islice(examples, _BATCH)):
        yield tokenize_all(some, tokenizer)
