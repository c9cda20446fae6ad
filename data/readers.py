"""The readers' front door: which form a file has, and the right reader for it.

Names that end in .txt or .md are text, in .json, .jsonl or .ndjson JSON of either kind; under any other name
the content decides. Text is raw where documents are asked for and tagged where conversations are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TypeVar

from tinylm.chat_format import Conversation
from tinylm.data.json_values import iter_json_records
from tinylm.data.raw_text import iter_raw_documents
from tinylm.data.records import conversation_of_record, document_of_record
from tinylm.data.tagged import iter_tagged_conversations
from tinylm.errors import DataError

_TEXT_SUFFIXES = (".txt", ".md")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_REFUSED_SUFFIXES = (".csv", ".tsv", ".yaml", ".yml")

_Item = TypeVar("_Item")


def load_conversation_data(path: str | PathLike[str]) -> list[Conversation]:
    """All conversations of a file: tagged text, JSON or JSON Lines in any of the known forms.

    Args:
        path: the file.

    Returns:
        At least one conversation. Each is a list of messages, and each message a dict with a `role`, which is
        "system", "user" or "assistant", and its `content`, which is never empty.

    Raises:
        DataError: the file cannot be read as conversations. Its message is one line, and its `path` and
            `line` say where.
    """
    return list(iter_conversations(path))


def iter_conversations(path: str | PathLike[str]) -> Iterator[Conversation]:
    """The conversations of a file one by one, as `load_conversation_data` has them.

    JSON Lines and tagged text take flat memory; JSON over several lines is held as text.

    Args:
        path: the file; it is opened at the first step.

    Yields:
        At least one conversation.

    Raises:
        DataError: at the first place that cannot be read, after the conversations before it.
    """
    if Path(path).suffix.lower() in _REFUSED_SUFFIXES:
        suffix = Path(path).suffix
        raise DataError(path, None, f'{suffix} is not read; save it as JSON Lines of {{"messages": [...]}}')
    found: Iterator[Conversation]
    if _is_json(path):
        found = (conversation_of_record(place, record) for place, record in iter_json_records(path))
    else:
        found = iter_tagged_conversations(path)
    yield from _some(path, found)


def iter_documents(path: str | PathLike[str]) -> Iterator[str]:
    """The documents of a file one by one, for pre-training. All of their text is plain: no tag is structure.

    JSON records with `text` are documents; a conversation's messages, joined by line ends, are one document.
    Text files are parted by `<|endoftext|>` lines or else by blank lines.

    Args:
        path: the file; it is opened at the first step.

    Yields:
        At least one text, never empty and without outer white space.

    Raises:
        DataError: at the first place that cannot be read, after the documents before it.
    """
    found: Iterator[str]
    if _is_json(path):
        texts = (document_of_record(place, record) for place, record in iter_json_records(path))
        found = (text for text in texts if text)
    else:
        found = iter_raw_documents(path)
    yield from _some(path, found)


def _is_json(path: str | PathLike[str]) -> bool:
    suffix = Path(path).suffix.lower()
    if suffix in _TEXT_SUFFIXES + _JSON_SUFFIXES:
        return suffix in _JSON_SUFFIXES
    try:
        _, record = next(iter_json_records(path), (None, None))
    except DataError:
        # Not JSON; what else may be wrong with the file, the reader of text will say.
        return False
    return isinstance(record, dict | list)


def _some(path: str | PathLike[str], found: Iterator[_Item]) -> Iterator[_Item]:
    first = next(found, None)
    if first is None:
        raise DataError(path, None, "nothing to read in it, so put some text into it or give another file")
    return chain([first], found)
