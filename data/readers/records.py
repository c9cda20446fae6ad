"""A stream of records as conversations and documents: each by its form, or together where each is a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm.data.readers.forms import Inner, Reading, Record
from tinylm.data.readers.grouped_rows import GroupedRows
from tinylm.data.readers.lines import Place
from tinylm.data.readers.marked_text import turns_of_text
from tinylm.data.readers.messages import is_message, turns_of_list
from tinylm.data.readers.people import conversations_of_people
from tinylm.data.readers.people_records import is_log, is_people_list, is_person_row, person_messages
from tinylm.data.readers.preferences import are_classes
from tinylm.data.readers.record_forms import documents_of
from tinylm.data.readers.record_values import fail, fields_of, kind_of, shown_keys, text_of
from tinylm.data.readers.trees import dialogues_of_rows, is_tree_row
from tinylm.data.readers.turns import Dialogue, Document, NotConversationsError, OddError, Part, UnusableError
from tinylm.errors import DataError

RecordAt = tuple[Place, object]

_LOOKED_AT_RECORDS, _LOOKED_AT_CHARACTERS = 200, 2_000_000
_LOOKED_FOR = "messages, conversations, dialog, prompt/response, question/answer, instruction/output, text and the like"
_DEEPEST = 50


def parts_of_records(records: Iterable[RecordAt], reading: Reading) -> Iterator[Part]:
    """The conversations and documents of a stream of records.

    The first records tell whether all are rows that belong together. Memory is flat but for the conversation at hand;
    trees are held whole.

    Args:
        records: values with their places; an `UnusableError` in place of a value is one that is left out.
        reading: the file.

    Raises:
        DataError: the records cannot be read on.
    """
    stream = _Ahead(records)
    first = stream.looked_at
    rows = [value for _, value in first if isinstance(value, dict)]
    reading.labels_are_classes = are_classes(fields.get("label") for fields in map(fields_of, rows))
    reading.keys_repeat = len(rows) > 1 and rows[0].keys() == rows[1].keys()
    if _most(map(is_tree_row, rows), first):
        yield from dialogues_of_rows(stream, reading.summary)
    elif 2 * len(rows) > len(first) and (rows_form := _rows_together(rows, reading)) is not None:
        if isinstance(rows_form, GroupedRows):
            yield from rows_form.parts(stream, reading)
        else:
            yield from conversations_of_people(person_messages(stream, reading), reading, rows_form)
    elif reading.documents and stream.is_whole and len(first) == 1 and isinstance(first[0][1], list):
        place, listed = first[0]
        assert isinstance(listed, list)
        # A lone list of texts is a list of documents; several are dialogues
        for text in listed if all(isinstance(text, str) for text in listed) else [listed]:
            yield from parts_of_record(place, text, reading)
    else:
        texts_are_odd = 2 * sum(isinstance(value, list | dict) for _, value in first) >= len(first)
        for place, value in stream:
            if texts_are_odd and isinstance(value, str):
                yield OddError(place, "a text where the others are conversations; is a dash or a bracket missing?")
            else:
                yield from parts_of_record(place, value, reading)


def parts_of_record(place: Place, value: object, reading: Reading, depth: int = 0) -> Iterator[Part]:
    """The conversations or documents that a record holds, or why it is left out: mostly one.

    Args:
        place: where the record begins, for errors.
        value: a JSON value or the like.
        reading: the file.
        depth: how many records are around it.
    """
    try:
        if isinstance(value, UnusableError):
            yield value
        elif isinstance(value, str):
            yield from _parts_of_text(place, value, reading)
        elif isinstance(value, list):
            yield from _parts_of_list(place, value, reading)
        elif not isinstance(value, dict):
            fail(place, f"expected an object with a conversation or a text, found {kind_of(value)}")
        elif depth > _DEEPEST:
            fail(place, "records in records are nested too deeply; take it out")
        else:
            record = Record.of(place, value, reading)
            for form in reading.forms:
                if form.claims(record):
                    break
            else:
                fail(place, f"no known form of record: looked for {_LOOKED_FOR}; found keys {shown_keys(value)}")
            for part in form.parts(record):
                if isinstance(part, Inner):
                    yield from parts_of_record(part.place, part.value, reading, depth + 1)
                else:
                    yield part
    except UnusableError as error:
        yield error


def _parts_of_text(place: Place, text: str, reading: Reading) -> Iterator[Part]:
    if reading.documents:
        yield from documents_of(Document(place, text_of(place, text, "text"), "texts"), reading.summary)
        return
    marked = turns_of_text(place, text_of(place, text, "text"), reading.options)
    if marked is None:
        raise NotConversationsError(place, "a text, not a conversation")
    yield Dialogue(place, marked[1], f"texts, {marked[0]}")


def _parts_of_list(place: Place, messages: list[object], reading: Reading) -> Iterator[Part]:
    if any(map(is_message, messages)) and is_people_list(messages, reading.options):
        listed = person_messages([(place, message) for message in messages], reading)
        yield from conversations_of_people(listed, reading, "lists of messages")
    else:
        yield Dialogue(place, turns_of_list(place, messages, reading.summary), "lists of messages")


def _rows_together(rows: list[dict[str, object]], reading: Reading) -> GroupedRows | str | None:
    """How rows are parts of conversations: by a column, or as the log of a messenger, by its name."""
    together = GroupedRows.among(rows, reading)
    if together is not None and together.key is not None:
        return together
    fields = [fields_of(row) for row in rows]
    timed = [row for row in fields if is_person_row(row)]
    return "messages of people" if 2 * len(timed) > len(rows) and is_log(timed, reading.options) else together


def _most(found: Iterable[bool], among: list[object] | list[RecordAt] | list[dict[str, object]]) -> bool:
    return 2 * sum(found) > len(among)


class _Ahead:
    """A stream of records of which the first are looked at before they are read.

    Attributes:
        looked_at: the first records, until they are many or long.
        is_whole: whether there are no others.
    """

    def __init__(self, records: Iterable[RecordAt]) -> None:
        self._records = iter(records)
        self.looked_at: list[RecordAt] = []
        self.is_whole = False
        self._error: DataError | None = None
        size = 0
        try:
            for record in self._records:
                self.looked_at.append(record)
                size += _size_of(record[1])
                if len(self.looked_at) >= _LOOKED_AT_RECORDS or size > _LOOKED_AT_CHARACTERS:
                    break
            else:
                self.is_whole = True
        except DataError as error:
            # What comes before it is read all the same
            self._error = error

    def __iter__(self) -> Iterator[RecordAt]:
        looked_at, self.looked_at = self.looked_at, []
        yield from looked_at
        if self._error is not None:
            raise self._error
        yield from self._records


def _size_of(value: object) -> int:
    """About how many characters a value holds."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size_of, value.values()), len(value))
    if isinstance(value, list):
        return sum(map(_size_of, value), len(value))
    return 8
