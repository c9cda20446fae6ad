"""Read a file of any form as conversations or as documents.

The reader that `registry.py` finds for a file hands out its parts. Here they become conversations and texts, what
cannot be learnt from is counted, and a file of which too much is not understood is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from os import PathLike

from tinylm.chat_format import Conversation
from tinylm.data.readers.encodings import CP1252, encoding_of
from tinylm.data.readers.forms import Reading
from tinylm.data.readers.lines import Place
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.parquet import is_parquet
from tinylm.data.readers.people import who_is_there
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import shown
from tinylm.data.readers.registry import reader_for, record_forms
from tinylm.data.readers.sources import compression_of
from tinylm.data.readers.tagged import first_content_line
from tinylm.data.readers.turns import (
    AbsentError,
    Dialogue,
    Document,
    NotConversationsError,
    OddError,
    Part,
    PeopleError,
    UnusableError,
    build_conversation,
)
from tinylm.errors import DataError

# So many texts without a conversation among them, and there is none
_TEXTS_AT_FIRST = 64
_MOST_NAMES = 10_000
_NOT_UTF8 = "not UTF-8, read as cp1252 (Latin-1): look at its accented letters, or save it as UTF-8"

_logger = logging.getLogger("tinylm.data")


def load_conversation_data(
    path: str | PathLike[str], *, assistant: str | None = None, user: str | None = None
) -> list[Conversation]:
    """All conversations of a file, in any form that docs/data.md shows.

    What is left out, and what else the user should know, is logged as a warning by `tinylm.data`.

    Args:
        path: the file.
        assistant: whose messages are the assistant's, in a log of people.
        user: whose messages are the user's; None: everyone else's.

    Returns:
        At least one conversation. Each is a list of messages, and each message a dict with a `role`, which is
        "system", "user" or "assistant", and its `content`, which is never empty.

    Raises:
        DataError: the file cannot be read as conversations. Its message is one line, and its `path` and
            `line` say where.
        ConfigError: a user is named without an assistant.
    """
    return list(iter_conversations(path, options=ReadOptions(assistant, user)))


def iter_conversations(
    path: str | PathLike[str], summary: ReadSummary | None = None, options: ReadOptions | None = None
) -> Iterator[Conversation]:
    """The conversations of a file one by one, as `load_conversation_data` has them.

    JSON, tables, Parquet and text take flat memory; YAML and trees of messages are held whole.

    Args:
        path: the file; it is opened at the first step.
        summary: filled with what is kept and what is left out; without it, that is logged at the end.
        options: what the user says about the file.

    Yields:
        At least one conversation.

    Raises:
        DataError: at the first place that cannot be read on, after the conversations before it; or at the end, where
            more is not understood than is.
    """
    told = summary or ReadSummary(path)
    reading = Reading(path, False, told, options or ReadOptions(), record_forms())
    tally = _Tally(reading)
    for part in _parts(reading):
        if isinstance(part, UnusableError):
            tally.skip(part)
            continue
        # A reader that hands out documents has none of what is wanted
        if isinstance(part, Document):
            tally.skip(UnusableError(part.place, "a text with nothing in it", "an empty text"))
            continue
        try:
            conversation = build_conversation(part.place, part.turns)
        except UnusableError as error:
            tally.skip(error)
            continue
        told.kept += 1
        told.forms[part.form] += 1
        yield conversation
    tally.finish(log=summary is None)


def iter_documents(
    path: str | PathLike[str], summary: ReadSummary | None = None, options: ReadOptions | None = None
) -> Iterator[str]:
    """The documents of a file one by one, for pre-training. All of their text is plain: no tag is structure.

    Records with `text` are documents; a conversation's messages, joined by line ends, are one document. What parts
    those of a text file, `raw_text.py` says.

    Args:
        path: the file; it is opened at the first step.
        summary: as for `iter_conversations`.
        options: likewise.

    Yields:
        At least one text, never empty and without outer white space.

    Raises:
        DataError: as for `iter_conversations`.
    """
    told = summary or ReadSummary(path)
    reading = Reading(path, True, told, options or ReadOptions(), record_forms())
    tally = _Tally(reading)
    for part in _parts(reading):
        try:
            text = _text_of_part(part)
        except UnusableError as error:
            tally.skip(error)
            continue
        told.kept += 1
        told.forms[part.form] += 1  # type: ignore[union-attr]
        yield text
    tally.finish(log=summary is None)


class _Tally:
    """Counts what is left out of a file, and refuses the file where that is too much."""

    def __init__(self, reading: Reading) -> None:
        self._summary, self._options = reading.summary, reading.options
        self._odd: Counter[type[OddError]] = Counter()
        self._first_odd: dict[type[OddError], OddError] = {}
        self._names: Counter[str] = Counter()

    def skip(self, error: UnusableError) -> None:
        """Count a part that is left out.

        Raises:
            NotConversationsError: the file begins with so many documents that conversations are not to be expected.
        """
        self._summary.skip(error)
        if isinstance(error, PeopleError | AbsentError) and len(self._names) < _MOST_NAMES:
            self._names.update(error.names)
        if isinstance(error, OddError):
            self._odd[type(error)] += 1
            self._first_odd.setdefault(type(error), error)
            if self._odd[NotConversationsError] == self._parts >= _TEXTS_AT_FIRST:
                raise self._refusal(NotConversationsError, self._parts)

    def finish(self, log: bool) -> None:
        """Refuse a file of which nothing is left, or more than half was not understood.

        Args:
            log: whether to log what the user should know about the others.

        Raises:
            DataError: this is one.
        """
        summary, odd = self._summary, self._odd.total()
        if 2 * odd > self._parts:
            raise self._refusal(self._odd.most_common(1)[0][0], odd)
        if not summary.kept:
            if NotConversationsError in self._odd:
                raise self._refusal(NotConversationsError, odd)
            if self._names:
                raise self._unknown_people()
            for error in summary.skipped_first.values():
                raise error
            raise DataError(summary.path, None, "nothing to read in it, so put some text into it or give another file")
        if log:
            for sentence in summary.sentences():
                _logger.warning(sentence)

    @property
    def _parts(self) -> int:
        return self._summary.kept + self._summary.skipped.total()

    def _refusal(self, kind: type[OddError], odd: int) -> DataError:
        if kind is PeopleError:
            return self._unknown_people()
        error = self._first_odd[kind]
        if kind is NotConversationsError:
            return NotConversationsError(error.place, "documents, not conversations: give the file to --pretrain")
        if odd == 1:
            return error
        return OddError(error.place, f"{error.what}; {odd:,} of {self._parts:,} are not understood")

    def _unknown_people(self) -> DataError:
        """Why a conversation of people cannot be read, with their names."""
        who = who_is_there(self._names)
        place = next(error.place for error in self._summary.skipped_first.values())._replace(record=None)
        if self._options.assistant is None:
            problem = f"messages are by people, {who}: who is the assistant? Give --assistant NAME"
        else:
            named = shown(self._options.assistant)
            problem = f"no message is by {named}, but by {who}: give one of them as --assistant"
        return PeopleError(place, (), problem)


def _parts(reading: Reading) -> Iterator[Part]:
    _note_encoding(reading)
    reader = reader_for(reading)
    if reader is not None:
        yield from reader.parts(reading)
        return
    first = first_content_line(reading)
    if first is None:
        return
    hint = "is this raw text? then give it to --pretrain"
    if first.lstrip().startswith(("{", "[")):
        hint = "is this JSON? then let its name end in .json"
    raise NotConversationsError(Place(reading.path, None), f"no <user>/<assistant> tags found; {hint}")


def _note_encoding(reading: Reading) -> None:
    summary = reading.summary
    if is_parquet(reading.path):
        return
    encoding = encoding_of(reading.path)
    summary.encoding, summary.compression = encoding.name, compression_of(reading.path)
    if encoding == CP1252:
        summary.note(_NOT_UTF8)


def _text_of_part(part: Part) -> str:
    if isinstance(part, UnusableError):
        raise part
    if isinstance(part, Dialogue):
        return "\n".join(message["content"] for message in build_conversation(part.place, part.turns))
    text = part.text.strip()
    if not text:
        raise UnusableError(part.place, "a text with nothing in it", "an empty text")
    return text
