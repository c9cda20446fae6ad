"""Rows that belong together: a turn a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from tinylm.data.readers.forms import Reading
from tinylm.data.readers.lines import Place
from tinylm.data.readers.messages import ROLE_KEYS, TEXT_KEYS, turns_of_messages
from tinylm.data.readers.people import conversations_of_people
from tinylm.data.readers.people_records import in_order, is_log, is_people_list, is_text_of_its_own, person_messages
from tinylm.data.readers.preferences import check_mark
from tinylm.data.readers.record_keys import MESSAGE_LISTS, has_role, is_conversation_key, is_record
from tinylm.data.readers.record_values import fields_of, first_value, shown
from tinylm.data.readers.turns import Dialogue, OddError, Part, Turn, UnusableError, known_role

_ORDER_KEYS = ("turn_id", "turn_index", "turn_idx", "turn", "utterance_idx", "turn_number", "message_index", "position")
_NO_COLUMN = "no column tells the conversations apart: all rows are one conversation"
_Row = tuple[Place, dict[str, object]]


@dataclass(frozen=True)
class GroupedRows:
    """Rows that are turns.

    Attributes:
        key: the column that tells the conversations apart; None where all rows are one.
    """

    key: str | None

    @classmethod
    def among(cls, rows: Sequence[Mapping[str, object]], reading: Reading) -> GroupedRows | None:
        """How rows are parted into conversations; None where most are no turns.

        Args:
            rows: the first of a file.
            reading: the file.
        """
        turns = [fields_of(row) for row in rows if _is_turn_row(row)]
        if not turns or 2 * len(turns) <= len(rows):
            return None
        keys = Counter(key for fields in turns for key in [_conversation_key(fields)] if key is not None)
        key = keys.most_common(1)[0][0] if 2 * keys.total() > len(turns) else None
        if key is None and _has_repeated_id(turns):
            key = "id"
        if key is None and not _take_turns(turns, reading):
            return None
        return cls(key)

    def parts(self, records: Iterable[tuple[Place, object]], reading: Reading) -> Iterator[Part]:
        """The conversations that rows make; a row that is odd is left out.

        Raises:
            DataError: the rows of a conversation are not together.
        """
        if self.key is None:
            reading.summary.note(_NO_COLUMN)
        seen: set[str] = set()
        odd: list[UnusableError] = []
        rows = self._rows(records, odd)
        for conversation, group in groupby(rows, key=lambda row: row[0]):
            members = [(place, fields) for _, place, fields in group]
            yield from odd
            odd.clear()
            if conversation in seen:
                place = members[0][0]
                what = f"rows of {self.key} {shown(conversation)} are not together: sort the file by {self.key}"
                raise place.error(what)
            seen.add(conversation)
            yield from _conversation(members, reading)
        yield from odd

    def _rows(
        self, records: Iterable[tuple[Place, object]], odd: list[UnusableError]
    ) -> Iterator[tuple[str, Place, dict[str, object]]]:
        for place, record in records:
            if isinstance(record, UnusableError):
                odd.append(record)
                continue
            fields = fields_of(record) if isinstance(record, dict) else {}
            if not fields:
                odd.append(OddError(place, "expected a row with a role and a text, as most rows are"))
            elif self.key is not None and fields.get(self.key) is None:
                odd.append(OddError(place, f"no {self.key}, which tells the conversations apart in the other rows"))
            else:
                yield str(fields.get(self.key)) if self.key is not None else "", place, fields


def _conversation(members: list[_Row], reading: Reading) -> Iterator[Part]:
    order = next((name for name in _ORDER_KEYS if all(_is_number(fields.get(name)) for _, fields in members)), None)
    if order is not None:
        members.sort(key=lambda member: float(str(member[1][order])))
    if is_people_list([fields for _, fields in members], reading.options):
        listed = in_order(list(person_messages(members, reading)))
        yield from conversations_of_people(listed, reading, "a turn a row")
    else:
        yield Dialogue(members[0][0], _turns(members, reading), "a turn a row")


def _turns(members: list[_Row], reading: Reading) -> Iterator[Turn]:
    for place, fields in members:
        check_mark(place, fields, labels_are_classes=reading.labels_are_classes)
    yield from turns_of_messages(members, reading.summary)


def _is_turn_row(record: Mapping[str, object]) -> bool:
    if any(isinstance(record.get(key), list) for key in MESSAGE_LISTS):
        return False
    fields = fields_of(record)
    has_text = any(isinstance(fields.get(key), str | list) for key in TEXT_KEYS)
    has_name = any(isinstance(fields.get(key), str | int | dict) for key in ROLE_KEYS)
    return has_text and has_name and (not is_record(record) or _conversation_key(fields) is not None)


def _take_turns(rows: Sequence[Mapping[str, object]], reading: Reading) -> bool:
    """Whether rows without a column that tells conversations apart are turns, not texts with an author each."""
    if any(isinstance(role := fields.get("role"), str) and known_role(role) is not None for fields in rows):
        return True
    if any(map(is_text_of_its_own, rows)):
        return False
    if all(map(has_role, rows)):
        return len({shown(first_value(fields, ROLE_KEYS)) for fields in rows}) > 1
    return not reading.documents and is_log(rows, reading.options)


def _conversation_key(fields: Mapping[str, object]) -> str | None:
    """The column that tells the conversations apart, found by its name."""
    return next(
        (key for key, value in fields.items() if is_conversation_key(key) and isinstance(value, str | int | float)),
        None,
    )


def _has_repeated_id(rows: Sequence[Mapping[str, object]]) -> bool:
    """Whether an `id` is that of conversations, for it may also be that of the row."""
    ids = [fields.get("id") for fields in rows]
    return any(one is not None and one == other for one, other in pairwise(ids))


def _is_number(value: object) -> bool:
    try:
        return value is not None and float(str(value)) == float(str(value))
    except ValueError:
        return False
