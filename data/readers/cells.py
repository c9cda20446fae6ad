"""A dialogue that is one value: JSON, a list as Python prints it, or lines that mark who speaks."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

from tinylm.data.readers.forms import Record
from tinylm.data.readers.marked_text import people_in_text, turns_of_text
from tinylm.data.readers.messages import turns_of_list
from tinylm.data.readers.people import roles_of_people
from tinylm.data.readers.people_records import is_people_list, person_messages
from tinylm.data.readers.record_values import fail, text_of
from tinylm.data.readers.turns import PeopleError, Turn

_LONGEST_LITERAL = 1_000_000


def turns_of_cell(record: Record, cell: object, key: str) -> Iterator[Turn]:
    """The turns of a dialogue that is one value.

    Raises:
        UnusableError: there is nothing to learn from in it.
        OddError: it does not say who speaks, or (a `PeopleError`) does so by the names of people.
    """
    place, summary = record.place, record.reading.summary
    if isinstance(cell, list):
        yield from turns_of_list(place, cell, summary)
        return
    text = text_of(place, cell, key)
    if text.lstrip().startswith(("[", "{")):
        value = _literal(text)
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], str) and "\n" in text.strip():
                fail(place, f"{key} holds a list without commas, as numpy prints it; save the column as JSON")
            if is_people_list(value, record.reading.options):
                yield from _turns_of_people(record, value)
            else:
                yield from turns_of_list(place, value, summary)
            return
    marked = turns_of_text(place, text, record.reading.options)
    if marked is None:
        if people := people_in_text(text):
            if not record.reading.documents:
                raise PeopleError(place, [name for name, _ in people if name])
            # As a document, where roles do not matter
            yield from (Turn("assistant", said, place) for _, said in people if said.strip())
            return
        fail(place, f"{key} does not mark who speaks: looked for lines such as User: and Assistant:, or a JSON list")
    yield from marked[1]


def _turns_of_people(record: Record, messages: list[object]) -> Iterator[Turn]:
    listed = list(person_messages([(record.place, message) for message in messages], record.reading))
    roles = roles_of_people(record.place, [message.names for message in listed], record.reading)
    for message, role in zip(listed, roles, strict=True):
        if role is not None:
            yield Turn(role, message.text, message.place)


def _literal(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    # Python's parser takes much memory and time
    if len(text) > _LONGEST_LITERAL or re.search(r"[\[{(]{50}", text):
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
