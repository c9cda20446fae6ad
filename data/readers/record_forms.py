"""The forms of record in which conversations and documents come, each a class that knows its own keys.

A record is a JSON value, a row of a table, or a value of a YAML file; docs/data.md shows every form. `registry.py`
lists them in the order in which they are asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tinylm.data.readers.cells import turns_of_cell
from tinylm.data.readers.forms import Inner, Record, RecordForm
from tinylm.data.readers.marked_text import turns_of_text
from tinylm.data.readers.messages import is_message, turns_of_list
from tinylm.data.readers.people import conversations_of_people
from tinylm.data.readers.people_records import in_order, is_people_list, mended, person_messages
from tinylm.data.readers.preferences import CHOSEN, REJECTED, is_preference
from tinylm.data.readers.prompt_response import (
    REJECTED_REPLIES,
    Pair,
    chosen_is_whole,
    find_pair,
    find_pair_of_nulls,
    turns_of_pair,
    turns_of_preference,
)
from tinylm.data.readers.raw_text import split_at_marks
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_keys import (
    DOCUMENT_KEYS,
    MESSAGE_LISTS,
    dialogue_columns,
    holds_conversations,
    is_conversation,
    is_record,
)
from tinylm.data.readers.record_values import fail, kind_of, shown_keys, text_of
from tinylm.data.readers.refused import NOTEBOOK
from tinylm.data.readers.trees import is_export_tree, is_nested_tree, turns_of_export_tree, turns_of_nested_tree
from tinylm.data.readers.turns import Document, NotConversationsError, Part, Turn, alternating

_NUMBERED_KEY = re.compile(r"(?:.*_)?(turn|sentence|utterance|message|line)_?(\d+)")
_DELETED = frozenset({"[deleted]", "[removed]"})


class WantedText(RecordForm):
    """A record with `text`, where documents are wanted."""

    def claims(self, record: Record) -> bool:
        """Whether there is a text, whatever else there is."""
        return record.reading.documents and isinstance(record.fields.get("text"), str | list | int | float | bool)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The text."""
        yield from documents_of(record.document("text"), record.reading.summary)


class ExportTree(RecordForm):
    """A conversation of a ChatGPT export."""

    def claims(self, record: Record) -> bool:
        """Whether there is a mapping of messages."""
        return is_export_tree(record.fields)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The line that was read last."""
        summary = record.reading.summary
        yield record.dialogue(turns_of_export_tree(record.place, record.fields, summary), "ChatGPT export", "mapping")


class NestedTree(RecordForm):
    """A tree of OpenAssistant's nested form."""

    def claims(self, record: Record) -> bool:
        """Whether the prompt is a message with replies."""
        return is_nested_tree(record.fields)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The best line."""
        turns = turns_of_nested_tree(record.place, record.fields, record.reading.summary)
        yield record.dialogue(turns, "OpenAssistant trees", "prompt")


class Conversations(RecordForm):
    """A list of conversations."""

    def claims(self, record: Record) -> bool:
        """Whether every element of a list is one."""
        return holds_conversations(record.fields) is not None

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The conversations, each as a record."""
        key = holds_conversations(record.fields)
        yield from record.inner(record.fields[key or ""])


class Messages(RecordForm):
    """A record with a list of messages, or with a text that holds one."""

    def claims(self, record: Record) -> bool:
        """Whether there is something under a key that is in use for messages."""
        return self._key(record) is not None

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """Mostly one conversation; several where the list holds conversations, or where people pause."""
        key = self._key(record)
        assert key is not None
        messages, summary = record.fields[key], record.reading.summary
        if isinstance(messages, str):
            yield record.dialogue(turns_of_cell(record, messages, key), f"dialogues in {key}", key)
        elif not isinstance(messages, list):
            fail(record.place, f"{key} must be a list of messages, found {kind_of(messages)}")
        elif key == "utterances" and _is_persona_chat(messages):
            yield record.dialogue(_persona_turns(record, messages[-1]), "Persona-Chat", key, "personality")
        elif is_people_list(messages, record.reading.options):
            others = record.fields.get("name") or record.fields.get("title") or "other"
            listed = person_messages([(record.place, message) for message in messages], record.reading, str(others))
            if "participants" in record.fields:
                listed = mended(listed, record.reading)
            yield from conversations_of_people(in_order(list(listed)), record.reading, f"messages of people in {key}")
        elif is_preference(record.fields):
            note_rejected(record)
            yield record.dialogue(turns_of_preference(record, messages), f"{key}/chosen", key, CHOSEN)
        else:
            turns = turns_of_list(record.place, messages, summary, in_marks=key == "conversation")
            yield record.dialogue(turns, key, key)

    def _key(self, record: Record) -> str | None:
        for key in MESSAGE_LISTS:
            if record.fields.get(key) is not None:
                return key
        content = record.fields.get("content")
        return "content" if isinstance(content, list) and content and is_message(content[0]) else None


class WholeChoice(RecordForm):
    """A chosen and a rejected conversation."""

    def claims(self, record: Record) -> bool:
        """Whether the chosen reply comes with the question before it."""
        return is_preference(record.fields) and chosen_is_whole(record)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The chosen one."""
        note_rejected(record)
        yield record.dialogue(turns_of_preference(record), "chosen/rejected", CHOSEN, "prompt")


class QuestionAndReply(RecordForm):
    """A question and its reply: Alpaca, Dolly, prompt and completion, and the like."""

    def claims(self, record: Record) -> bool:
        """Whether there are both."""
        return self._pair(record) is not None

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The two, after a history if there is one."""
        pair = self._pair(record)
        assert pair is not None
        note_rejected(record)
        yield record.dialogue(turns_of_pair(record, pair), pair.form, *pair.asked, pair.replied, "history")

    def _pair(self, record: Record) -> Pair | None:
        return find_pair(record.place, record.fields)


class Choice(RecordForm):
    """A chosen and a rejected reply without a question."""

    def claims(self, record: Record) -> bool:
        """Whether there are both."""
        return is_preference(record.fields)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The chosen one, whose text may mark who speaks."""
        note_rejected(record)
        yield record.dialogue(turns_of_preference(record), "chosen/rejected", CHOSEN)


class NumberedColumns(RecordForm):
    """A turn a column: `turn1`, `turn2`, `turn3`."""

    def claims(self, record: Record) -> bool:
        """Whether keys are numbered without a gap."""
        return bool(self._keys(record.fields))

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The turns up to the last that is not empty."""
        keys = self._keys(record.fields)
        texts = [text_of(record.place, record.fields.get(key), key) for key in keys]
        while texts and not texts[-1].strip():
            texts.pop()
        yield record.dialogue(alternating(record.place, texts), "a turn a column", *keys)

    def _keys(self, fields: Mapping[str, object]) -> list[str]:
        numbered = {int(match[2]): key for key in fields if (match := _NUMBERED_KEY.fullmatch(key))}
        # Two sentences are mostly a pair to compare
        first = min(numbered, default=0)
        if len(numbered) < 3 or first > 1 or max(numbered) != first + len(numbered) - 1:
            return []
        return [numbered[number] for number in sorted(numbered)]


class DialogueColumn(RecordForm):
    """A column whose name says that it holds dialogues."""

    def claims(self, record: Record) -> bool:
        """Whether there is one with something in it."""
        return bool(dialogue_columns(record.fields))

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The dialogue."""
        keys = dialogue_columns(record.fields)
        if len(keys) > 1:
            fail(record.place, f"unclear which holds the dialogue: {' or '.join(keys)}; keep one of them")
        turns = turns_of_cell(record, record.fields[keys[0]], keys[0])
        yield record.dialogue(turns, f"dialogues in {keys[0]}", keys[0])


class Text(RecordForm):
    """A text: a document, or a conversation where it marks who speaks."""

    def claims(self, record: Record) -> bool:
        """Whether there is a text under a key that is in use for documents, and nobody who wrote it as a role."""
        return self._key(record) is not None

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The text."""
        key = self._key(record)
        assert key is not None
        if record.reading.documents:
            yield from documents_of(record.document(key), record.reading.summary)
            return
        text = text_of(record.place, record.fields[key], key)
        marked = turns_of_text(record.place, text, record.reading.options)
        if marked is None:
            raise NotConversationsError(record.place, "a text, not a conversation")
        yield record.dialogue(marked[1], f"text in {key}, {marked[0]}", key)

    def _key(self, record: Record) -> str | None:
        return next((key for key in DOCUMENT_KEYS if record.fields.get(key) is not None), None)


class DictOfConversations(RecordForm):
    """Conversations under their ids."""

    def claims(self, record: Record) -> bool:
        """Whether every value is a conversation, of messages or under keys that are numbered."""
        values = list(record.fields.values())
        if not values or not all(map(is_conversation, values)):
            return False
        texts = any(isinstance(value, list) and not isinstance(value[0], dict) for value in values)
        return not texts or all(any(map(str.isdigit, key)) for key in record.fields)

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The conversations, each as a record."""
        if len(record.fields) > 1 and record.reading.keys_repeat:
            fail(record.place, f"holds several conversations, under {shown_keys(record.value)}: keep one of them")
        yield from record.inner(list(record.fields.values()))


class RecordsUnderAKey(RecordForm):
    """Records in a list, beside what is true of all of them."""

    def claims(self, record: Record) -> bool:
        """Whether there is a list of records."""
        return bool(self._keys(record))

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The records of the list."""
        keys = self._keys(record)
        if len(keys) > 1:
            problem = f"holds parts under {shown_keys(record.value)}: save the one to train on as a file"
            fail(record.place, problem)
        yield from record.inner(record.fields[keys[0]])

    def _keys(self, record: Record) -> list[str]:
        if record.fields.get("cells") is not None and "nbformat" in record.fields:
            raise record.place.error(NOTEBOOK)
        keys = []
        for key, value in record.fields.items():
            first = value[0] if isinstance(value, list) and value else None
            if isinstance(first, dict) and is_record(record.inherited(first)):
                keys.append(key)
        return ["instances"] if "instances" in keys else keys


class RecordUnderAKey(RecordForm):
    """One object around what is looked for, as in `{"chats": {"list": […]}}` or `{"conversation": {"turns": […]}}`."""

    def claims(self, record: Record) -> bool:
        """Whether just one value is an object that holds records."""
        return self._key(record) is not None

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The object as a record."""
        yield Inner(record.place, record.inherited(record.fields[self._key(record) or ""]))

    def _key(self, record: Record) -> str | None:
        keys = [key for key, value in record.fields.items() if _holds_record(value)]
        return keys[0] if len(keys) == 1 else None


class NullRecord(RecordForm):
    """A record whose text, messages, question or reply is null: left out as an empty one is."""

    def claims(self, record: Record) -> bool:
        """Whether one of the keys is there."""
        keys = record.fields.keys()
        return find_pair_of_nulls(record.fields) is not None or not keys.isdisjoint((*MESSAGE_LISTS, *DOCUMENT_KEYS))

    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """An empty conversation or document."""
        pair = find_pair_of_nulls(record.fields)
        if pair is not None:
            yield record.dialogue(turns_of_pair(record, pair), pair.form, *pair.asked, pair.replied, "history")
        elif not record.fields.keys().isdisjoint(MESSAGE_LISTS):
            yield record.dialogue(iter(()), "messages")
        else:
            # Neither a document nor a conversation, so the other records decide which they are
            yield Document(record.place, "", "documents")


def documents_of(document: Document, summary: ReadSummary) -> Iterator[Document]:
    """A document, parted where it holds marks of the end of a text."""
    if document.text.strip() in _DELETED:
        yield document._replace(text="")
        return
    for text in split_at_marks(document.text, summary):
        yield document._replace(text=text)


def note_rejected(record: Record) -> None:
    """Count a rejected reply."""
    if record.fields.get(REJECTED) and is_preference(record.fields):
        record.reading.summary.dropped[REJECTED_REPLIES] += 1


def _holds_record(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    firsts = [inner[0] for inner in value.values() if isinstance(inner, list) and inner]
    return is_record(value) or any(isinstance(first, dict) and is_record(first) for first in firsts)


def _is_persona_chat(messages: Sequence[object]) -> bool:
    return all(
        isinstance(message, dict)
        and isinstance(message.get("history"), list)
        and isinstance(message.get("candidates"), list)
        for message in messages
    ) and bool(messages)


def _persona_turns(record: Record, last: object) -> Iterator[Turn]:
    assert isinstance(last, dict)
    personality, history, candidates = record.fields.get("personality"), last["history"], last["candidates"]
    if isinstance(personality, list):
        lines = (text_of(record.place, line, "personality") for line in personality)
        yield Turn("system", "\n".join(lines), record.place)
    # The last of the candidates is what was said
    yield from turns_of_list(record.place, [*history, *candidates[-1:]], record.reading.summary)
