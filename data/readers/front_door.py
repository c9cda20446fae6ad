"""The readers' front door: which form a file has, and the right reader for it.

The name decides between text, JSON, tables and YAML, after the ending of its packing (.gz and the like) is taken off;
under any other name the content does. Text is raw where documents are asked for and marked where conversations are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from os import PathLike, fspath

from tinylm.chat_format import Conversation
from tinylm.data.readers.chat_logs import refuse_chat_log
from tinylm.data.readers.encodings import CP1252, encoding_of
from tinylm.data.readers.grouped_rows import parts_of_records
from tinylm.data.readers.json_values import iter_json_records
from tinylm.data.readers.line_dialogues import find_separator, iter_separated_dialogues
from tinylm.data.readers.lines import Place
from tinylm.data.readers.parquet import is_parquet, iter_parquet_rows
from tinylm.data.readers.raw_text import iter_raw_documents
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.records import Document
from tinylm.data.readers.sources import compression_of, inner_suffix, iter_bytes
from tinylm.data.readers.tables import iter_table_rows, looks_like_table
from tinylm.data.readers.tagged import find_text_markup, first_content_line, iter_tagged_dialogues
from tinylm.data.readers.turns import Dialogue, NotConversationsError, UnusableError, build_conversation
from tinylm.data.readers.yaml_values import iter_yaml_records
from tinylm.errors import DataError

_TEXT, _JSON, _TABLE, _YAML, _PARQUET = "text", "JSON", "table", "YAML", "Parquet"
_CONTAINERS = {
    **dict.fromkeys((".txt", ".md"), _TEXT),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _JSON),
    **dict.fromkeys((".csv", ".tsv", ".tab"), _TABLE),
    **dict.fromkeys((".yaml", ".yml"), _YAML),
    **dict.fromkeys((".parquet", ".pq"), _PARQUET),
}
SUFFIXES = frozenset(_CONTAINERS)
"""Endings that a file's form is known by, that of its packing taken off."""
_TAB_SUFFIXES = (".tsv", ".tab")
_LINE_SUFFIXES = (".jsonl", ".ndjson")

_logger = logging.getLogger("tinylm.data")


def load_conversation_data(path: str | PathLike[str]) -> list[Conversation]:
    """All conversations of a file, in any form that docs/data.md shows.

    What is left out, and what else the user should know, is logged as a warning by `tinylm.data`.

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


def iter_conversations(path: str | PathLike[str], summary: ReadSummary | None = None) -> Iterator[Conversation]:
    """The conversations of a file one by one, as `load_conversation_data` has them.

    JSON Lines, tables, Parquet and text take flat memory; JSON over several lines and YAML are held as text.

    Args:
        path: the file; it is opened at the first step.
        summary: filled with what is kept and what is left out; without it, that is logged at the end.

    Yields:
        At least one conversation.

    Raises:
        DataError: at the first place that cannot be understood, after the conversations before it.
    """
    told = summary or ReadSummary(path)
    for part in _parts(path, told, documents=False):
        assert isinstance(part, Dialogue)
        try:
            conversation = build_conversation(part.place, part.turns)
        except UnusableError as error:
            told.skip(error)
            continue
        told.kept += 1
        told.forms[part.form] += 1
        yield conversation
    _finish(told, summary is None)


def iter_documents(path: str | PathLike[str], summary: ReadSummary | None = None) -> Iterator[str]:
    """The documents of a file one by one, for pre-training. All of their text is plain: no tag is structure.

    Records with `text` are documents; a conversation's messages, joined by line ends, are one document.
    Text files are parted by `<|endoftext|>` lines or else by blank lines.

    Args:
        path: the file; it is opened at the first step.
        summary: as for `iter_conversations`.

    Yields:
        At least one text, never empty and without outer white space.

    Raises:
        DataError: at the first place that cannot be understood, after the documents before it.
    """
    told = summary or ReadSummary(path)
    for part in _parts(path, told, documents=True):
        try:
            text = _text_of_part(part)
        except UnusableError as error:
            told.skip(error)
            continue
        told.kept += 1
        told.forms[part.form] += 1
        yield text
    _finish(told, summary is None)


def _parts(path: str | PathLike[str], summary: ReadSummary, documents: bool) -> Iterator[Dialogue | Document]:
    container = _container_of(path)
    summary.container = "" if container == _TEXT else container
    if container == _PARQUET:
        yield from parts_of_records(iter_parquet_rows(path), summary, documents)
        return
    _note_encoding(path, summary)
    suffix = inner_suffix(path)
    if container == _JSON:
        summary.container = "JSON Lines" if suffix in _LINE_SUFFIXES else "JSON"
        yield from parts_of_records(iter_json_records(path), summary, documents)
    elif container == _TABLE:
        yield from parts_of_records(iter_table_rows(path, suffix in _TAB_SUFFIXES, summary), summary, documents)
    elif container == _YAML:
        yield from parts_of_records(iter_yaml_records(path), summary, documents)
    elif documents:
        for text in iter_raw_documents(path, summary.note):
            yield Document(Place(path, 1), text, "raw text")
    else:
        yield from _text_dialogues(path)


def _text_dialogues(path: str | PathLike[str]) -> Iterator[Dialogue]:
    markup = find_text_markup(path)
    if markup is not None:
        yield from iter_tagged_dialogues(path, markup)
        return
    first = first_content_line(path)
    if first is None:
        return
    separator = find_separator(path)
    if separator is not None:
        yield from iter_separated_dialogues(path, separator)
        return
    refuse_chat_log(path)
    hint = "is this raw text? then give it to --pretrain"
    if first.lstrip().startswith(("{", "[")):
        hint = "is this JSON? then let its name end in .json"
    raise NotConversationsError(path, None, f"no <user>/<assistant> tags found; {hint}")


def _container_of(path: str | PathLike[str]) -> str:
    if is_parquet(path):
        return _PARQUET
    container = _CONTAINERS.get(inner_suffix(path))
    if container == _PARQUET:
        packed = compression_of(path) is not None
        problem = "Parquet is packed inside; unpack the file around it"
        if not packed:
            # What is wrong with a file that cannot be opened, its reader says
            next(iter_bytes(path), None)
            problem = "is not Parquet, whatever its name says; name it by what it is"
        raise DataError(path, None, problem)
    if container is not None:
        return container
    try:
        _, record = next(iter_json_records(path), (None, None))
        if isinstance(record, dict | list):
            return _JSON
    except DataError:
        # Not JSON; what else may be wrong with the file, the reader of its form will say.
        pass
    return _TABLE if looks_like_table(path) else _TEXT


def _note_encoding(path: str | PathLike[str], summary: ReadSummary) -> None:
    encoding = encoding_of(path)
    summary.encoding, summary.compression = encoding.name, compression_of(path)
    if encoding == CP1252:
        summary.note("not UTF-8, read as cp1252 (Latin-1): look at its accented letters, or save it as UTF-8")


def _text_of_part(part: Dialogue | Document) -> str:
    if isinstance(part, Dialogue):
        return "\n".join(message["content"] for message in build_conversation(part.place, part.turns))
    text = part.text.strip()
    if not text:
        raise UnusableError(part.place, "a text with nothing in it", "an empty text")
    return text


def _finish(summary: ReadSummary, log: bool) -> None:
    if not summary.kept:
        for error in summary.skipped_first.values():
            raise error
        path = fspath(summary.path)
        raise DataError(path, None, "nothing to read in it, so put some text into it or give another file")
    if log:
        for sentence in summary.sentences():
            _logger.warning(sentence)
