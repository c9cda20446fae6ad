"""Records that belong together: a turn a row, and trees of messages. All others stand for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby, islice, pairwise
from typing import TypeGuard

from tinylm.data.readers.lines import Place
from tinylm.data.readers.messages import ROLE_KEYS, TEXT_KEYS, turns_of_messages
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import fail, fields_of, shown
from tinylm.data.readers.records import MESSAGE_LISTS, Document, is_conversation_key, is_record, parts_of_record
from tinylm.data.readers.trees import dialogues_of_rows, is_tree_row
from tinylm.data.readers.turns import Dialogue

Record = tuple[Place, object]

_ORDER_KEYS = ("turn_id", "turn_index", "turn_idx", "turn", "utterance_idx", "turn_number", "message_index", "position")
_LOOKED_AT_ROWS = 200
_NO_COLUMN = "no column tells the conversations apart: all rows are one conversation"


def parts_of_records(records: Iterable[Record], summary: ReadSummary, documents: bool) -> Iterator[Dialogue | Document]:
    """The conversations and documents of a stream of records.

    The first record tells whether all are rows that belong together. Memory is flat but for the conversation at hand;
    trees are held whole.

    Raises:
        DataError: at the first record that has none of the forms.
    """
    stream = iter(records)
    begin = list(islice(stream, 2))
    first = begin[0][1] if begin else None
    if is_tree_row(first):
        yield from dialogues_of_rows(chain(begin, stream), summary)
    elif _is_turn_row(first):
        key = _conversation_key(first)
        if key is None:
            begin += islice(stream, _LOOKED_AT_ROWS)
            key = "id" if _has_repeated_id([record for _, record in begin]) else None
        yield from _grouped(chain(begin, stream), key, summary)
    elif documents and len(begin) == 1 and isinstance(first, list):
        # A lone list of texts is a list of documents; several are dialogues
        texts = first if all(isinstance(text, str) for text in first) else [first]
        for text in texts:
            yield from parts_of_record(begin[0][0], text, summary, documents)
    else:
        for place, record in chain(begin, stream):
            yield from parts_of_record(place, record, summary, documents)


def _is_turn_row(record: object) -> TypeGuard[dict[str, object]]:
    if not isinstance(record, dict) or any(isinstance(record.get(key), list) for key in MESSAGE_LISTS):
        return False
    fields = fields_of(record)
    has_text = any(isinstance(fields.get(key), str | list) for key in TEXT_KEYS)
    has_role = any(isinstance(fields.get(key), str | int | dict) for key in ROLE_KEYS)
    return has_text and has_role and (not is_record(record) or _conversation_key(record) is not None)


def _conversation_key(record: Mapping[str, object]) -> str | None:
    """The column that tells the conversations apart, found by its name."""
    return next(
        (
            key
            for key, value in fields_of(record).items()
            if is_conversation_key(key) and isinstance(value, str | int | float)
        ),
        None,
    )


def _has_repeated_id(records: list[object]) -> bool:
    """Whether an `id` is that of conversations, for it may also be that of the row."""
    ids = [fields_of(record).get("id") for record in records if isinstance(record, dict)]
    return any(one is not None and one == other for one, other in pairwise(ids))


def _grouped(records: Iterable[Record], key: str | None, summary: ReadSummary) -> Iterator[Dialogue]:
    if key is None:
        summary.note(_NO_COLUMN)
    seen: set[str] = set()
    rows = (_checked(place, record, key) for place, record in records)
    for conversation, group in groupby(rows, key=lambda row: row[0]):
        members = [(place, fields) for _, place, fields in group]
        if conversation in seen:
            fail(members[0][0], f"rows of {key} {shown(conversation)} are not together: sort the file by {key}")
        seen.add(conversation)
        order = next((name for name in _ORDER_KEYS if all(_is_number(fields.get(name)) for _, fields in members)), None)
        if order is not None:
            members.sort(key=lambda member: float(str(member[1][order])))
        yield Dialogue(members[0][0], turns_of_messages(members), "a turn a row")


def _checked(place: Place, record: object, key: str | None) -> tuple[str, Place, dict[str, object]]:
    if not isinstance(record, dict):
        fail(place, "expected a row with a role and a text, as the rows before it")
    fields = fields_of(record)
    if key is not None and fields.get(key) is None:
        fail(place, f"no {key}, which tells the conversations apart in the rows before it")
    return str(fields.get(key)) if key is not None else "", place, fields


def _is_number(value: object) -> bool:
    try:
        return value is not None and float(str(value)) == float(str(value))
    except ValueError:
        return False
