"""The forms of record in which conversations and documents come, each recognized by its own keys.

A record is a JSON value, a row of a table, or a value of a YAML file; docs/data.md shows every form.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeGuard

from tinylm.data.readers.lines import Place
from tinylm.data.readers.markup import turns_of_text
from tinylm.data.readers.messages import is_message, is_role_pair, turns_of_list
from tinylm.data.readers.prompt_response import (
    REJECTED_REPLIES,
    SYSTEM_KEYS,
    chosen_is_whole,
    find_pair,
    is_preference,
    system_turn,
    turns_of_pair,
    turns_of_preference,
)
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import fail, fields_of, kind_of, normal_key, optional_text, shown_keys, text_of
from tinylm.data.readers.trees import is_export_tree, is_nested_tree, turns_of_export_tree, turns_of_nested_tree
from tinylm.data.readers.turns import Dialogue, NotConversationsError, Turn, alternating
from tinylm.errors import DataError

MESSAGE_LISTS = (
    *("messages", "conversations", "conversation", "dialog", "dialogue", "dialogs", "dialogues", "turns"),
    *("utterances", "chat", "chat_messages"),
)
_LISTS_OF_CONVERSATIONS = ("conversations", "dialogs", "dialogues")
DOCUMENT_KEYS = ("text", "document", "content", "body", "story", "article", "passage")
_LOOKED_FOR = "messages, conversations, dialog, prompt/response, question/answer, instruction/output, text and the like"
# In the name of a column that holds a whole dialogue, and in that of one that is about it
_DIALOGUE_WORDS = frozenset({"conversation", "dialogue", "dialog", "chat", "transcript"})
_ABOUT_WORDS = frozenset({"id", "ids", "index", "number", "type", "title", "topic", "name", "date", "time", "length"})
_CONVERSATION_KEY = re.compile(
    r"(?:conversation|conv|dialog|dialogue|chat|thread|session)(?:_?(?:id|idx|index|no|num|number|hash))?"
)
# A message with one of these is a row of a table, which says of itself where it belongs
_ROW_KEYS = ("id", "message_id")
_NUMBERED_KEY = re.compile(r"(?:.*_)?(turn|sentence|utterance|message|line)_?(\d+)")


class Document(NamedTuple):
    """A text for pre-training as a file has it."""

    place: Place
    text: str
    form: str


def is_record(value: object) -> bool:
    """Whether a value has the keys of one of the forms or is a list of messages or of texts."""
    if isinstance(value, list):
        texts = len(value) > 1 and all(map(_is_text, value))
        return bool(value) and (_is_bare_message(value[0]) or texts or all(map(is_role_pair, value)))
    if not isinstance(value, dict):
        return False
    fields = fields_of(value)
    if any(fields.get(key) is not None for key in MESSAGE_LISTS) or is_preference(fields):
        return True
    if is_nested_tree(value) or is_export_tree(value):
        return True
    try:
        pair = find_pair(Place("", 0), fields)
    except DataError:
        return True
    return pair is not None or ("text" in fields and not is_message(value))


def is_text_column(name: str) -> bool:
    """Whether a column of this name is known to hold texts or dialogues."""
    key = normal_key(name)
    return key in MESSAGE_LISTS or key in DOCUMENT_KEYS or bool(set(key.split("_")) & _DIALOGUE_WORDS)


def is_conversation_key(key: str) -> bool:
    """Whether a column, by its normal key, tells the conversations of its rows apart."""
    return _CONVERSATION_KEY.fullmatch(key) is not None


def is_list_of_messages(value: object) -> bool:
    """Whether the first element of a list shows that the list is one conversation."""
    return _is_bare_message(value)


def parts_of_record(
    place: Place, record: object, summary: ReadSummary, documents: bool
) -> Iterator[Dialogue | Document]:
    """The conversations or documents that a record holds: mostly one.

    Args:
        place: where the record begins, for errors.
        record: a JSON value or the like.
        summary: told what of the record is left out.
        documents: whether texts are wanted where a record has both.

    Yields:
        Conversations with their turns, and documents.

    Raises:
        DataError: the record has none of the forms.
    """
    if isinstance(record, str):
        yield _text_part(place, record, "texts", documents)
    elif isinstance(record, list):
        yield Dialogue(place, turns_of_list(place, record), "lists of messages")
    elif isinstance(record, dict):
        fields = fields_of(record)
        yield from _Record(place, record, fields, summary).parts(documents)
    else:
        fail(place, f"expected an object with a conversation or a text, found {kind_of(record)}")


class _Record:
    """One object, and its values by their normal keys."""

    def __init__(
        self, place: Place, record: Mapping[str, object], fields: dict[str, object], summary: ReadSummary
    ) -> None:
        self._place = place
        self._record = record
        self._fields = fields
        self._summary = summary

    def parts(self, documents: bool) -> Iterator[Dialogue | Document]:
        place, fields = self._place, self._fields
        if documents and fields.get("text") is not None and not isinstance(fields["text"], dict):
            yield self._document("text")
        elif is_export_tree(fields):
            yield self._dialogue(turns_of_export_tree(place, fields, self._summary), "ChatGPT export", "mapping")
        elif is_nested_tree(fields):
            yield self._dialogue(turns_of_nested_tree(place, fields, self._summary), "OpenAssistant trees", "prompt")
        elif (key := self._message_key()) is not None:
            yield from self._of_messages(key, documents)
        elif is_preference(fields) and chosen_is_whole(fields):
            self._note_rejected()
            yield self._dialogue(turns_of_preference(place, fields), "chosen/rejected", "chosen", "prompt")
        elif (pair := find_pair(place, fields)) is not None:
            self._note_rejected()
            used = (*pair.asked, pair.replied, "history")
            yield self._dialogue(turns_of_pair(place, fields, pair), pair.form, *used)
        elif is_preference(fields):
            self._note_rejected()
            yield self._dialogue(turns_of_preference(place, fields), "chosen/rejected", "chosen")
        elif numbered := self._numbered_keys():
            yield self._dialogue(self._numbered_turns(numbered), "a turn a column", *numbered)
        elif (key := self._dialogue_column()) is not None:
            yield self._dialogue(_turns_of_cell(place, fields[key], key), f"dialogues in {key}", key)
        elif (key := self._document_key()) is not None:
            yield self._document(key) if documents else self._text_part(key)
        else:
            yield from self._nested(documents)

    def _dialogue(self, turns: Iterator[Turn], form: str, *used: str) -> Dialogue:
        for key, value in self._fields.items():
            if key not in used and key not in SYSTEM_KEYS and key != "rejected" and _is_text_like(value):
                self._summary.unread_keys[key] += 1
        return Dialogue(self._place, turns, form)

    def _message_key(self) -> str | None:
        for key in MESSAGE_LISTS:
            if self._fields.get(key) is not None:
                return key
        content = self._fields.get("content")
        return "content" if isinstance(content, list) and content and is_message(content[0]) else None

    def _of_messages(self, key: str, documents: bool) -> Iterator[Dialogue | Document]:
        place, messages = self._place, self._fields[key]
        if isinstance(messages, str):
            yield self._dialogue(_turns_of_cell(place, messages, key), f"dialogues in {key}", key)
            return
        if not isinstance(messages, list):
            fail(place, f"{key} must be a list of messages, found {kind_of(messages)}")
        if key in _LISTS_OF_CONVERSATIONS and messages and all(map(_is_conversation, messages)):
            yield from self._each(messages, documents)
        elif key == "utterances" and _is_persona_chat(messages):
            yield self._dialogue(self._persona_turns(messages[-1]), "Persona-Chat", key, "personality")
        elif is_preference(self._fields):
            self._note_rejected()
            yield self._dialogue(turns_of_preference(place, self._fields, messages), f"{key}/chosen", key, "chosen")
        else:
            yield self._dialogue(self._with_system(messages, key), key, key)

    def _with_system(self, messages: list[object], key: str) -> Iterator[Turn]:
        yield system_turn(self._place, self._fields)
        yield from turns_of_list(self._place, messages, in_marks=key == "conversation")

    def _persona_turns(self, last: dict[str, object]) -> Iterator[Turn]:
        personality, history, candidates = self._fields.get("personality"), last["history"], last["candidates"]
        assert isinstance(history, list)
        assert isinstance(candidates, list)
        if isinstance(personality, list):
            yield Turn(
                "system", "\n".join(text_of(self._place, line, "personality") for line in personality), self._place
            )
        # The last of the candidates is what was said
        yield from turns_of_list(self._place, [*history, *candidates[-1:]])

    def _numbered_keys(self) -> list[str]:
        """The keys `turn1`, `turn2`, … in order."""
        numbered = {int(match[2]): key for key in self._fields if (match := _NUMBERED_KEY.fullmatch(key))}
        # Two sentences are mostly a pair to compare
        first = min(numbered, default=0)
        if len(numbered) < 3 or first > 1 or max(numbered) != first + len(numbered) - 1:
            return []
        return [numbered[number] for number in sorted(numbered)]

    def _numbered_turns(self, keys: list[str]) -> Iterator[Turn]:
        texts = [optional_text(self._place, self._fields.get(key), key) for key in keys]
        while texts and not texts[-1].strip():
            texts.pop()
        yield from alternating(self._place, texts)

    def _dialogue_column(self) -> str | None:
        found = []
        for key, value in self._fields.items():
            words = set(key.split("_"))
            if words & _DIALOGUE_WORDS and not words & _ABOUT_WORDS and isinstance(value, str | list) and value:
                found.append(key)
        if len(found) > 1:
            fail(self._place, f"unclear which holds the dialogue: {' or '.join(found)}; keep one of them")
        return found[0] if found else None

    def _document_key(self) -> str | None:
        keys = [key for key in DOCUMENT_KEYS if self._fields.get(key) is not None]
        return keys[0] if keys and not is_message(self._record) else None

    def _document(self, key: str) -> Document:
        for other, value in self._fields.items():
            if other != key and _is_text_like(value):
                self._summary.unread_keys[other] += 1
        return Document(self._place, text_of(self._place, self._fields[key], key), f"documents in {key}")

    def _text_part(self, key: str) -> Dialogue | Document:
        return _text_part(self._place, text_of(self._place, self._fields[key], key), f"text in {key}", False)

    def _nested(self, documents: bool) -> Iterator[Dialogue | Document]:
        """A dict of conversations, or records under one key."""
        values = list(self._fields.values())
        if (
            values
            and all(map(_is_conversation, values))
            and (_of_messages(values) or all(map(_has_digit, self._fields)))
        ):
            yield from self._each(values, documents)
            return
        lists = [value for value in values if _is_list_of_records(value)]
        if len(lists) == 1:
            yield from self._each(lists[0], documents)
            return
        if lists:
            fail(self._place, f"holds parts under {shown_keys(self._record)}: save the one to train on as a file")
        found = shown_keys(self._record)
        fail(self._place, f"no known form of record: looked for {_LOOKED_FOR}; found keys {found}")

    def _each(self, records: list[object], documents: bool) -> Iterator[Dialogue | Document]:
        for number, record in enumerate(records, 1):
            yield from parts_of_record(self._place._replace(record=number), record, self._summary, documents)

    def _note_rejected(self) -> None:
        if self._fields.get("rejected"):
            self._summary.dropped[REJECTED_REPLIES] += 1


def _text_part(place: Place, text: str, form: str, documents: bool) -> Dialogue | Document:
    """A text as a document, or as a conversation where it marks who speaks."""
    if documents:
        return Document(place, text_of(place, text, "text"), form)
    marked = turns_of_text(place, text)
    if marked is None:
        raise NotConversationsError(
            place.path, place.line, "documents, not conversations: give the file to --pretrain" + place.suffix
        )
    return Dialogue(place, marked[1], f"{form}, {marked[0]}")


def _turns_of_cell(place: Place, cell: object, key: str) -> Iterator[Turn]:
    """The turns of a dialogue that is one text: JSON, a list as Python prints it, or lines that mark who speaks."""
    if isinstance(cell, list):
        yield from turns_of_list(place, cell)
        return
    text = text_of(place, cell, key)
    if text.lstrip().startswith(("[", "{")):
        value = _literal(text)
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], str) and "\n" in text.strip():
                fail(place, f"{key} holds a list without commas, as numpy prints it; save the column as JSON")
            yield from turns_of_list(place, value)
            return
    marked = turns_of_text(place, text)
    if marked is None:
        fail(place, f"{key} does not mark who speaks: looked for lines such as User: and Assistant:, or a JSON list")
    yield from marked[1]


def _literal(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_bare_message(value: object) -> bool:
    """A message that is no row with a conversation's id."""
    return (
        isinstance(value, dict)
        and is_message(value)
        and not is_record(value)
        and not any(normal_key(key) in _ROW_KEYS or is_conversation_key(normal_key(key)) for key in value)
    )


def _is_conversation(value: object) -> bool:
    """A list of messages or of texts, or an object with one."""
    if isinstance(value, list):
        return len(value) > 0 and (is_message(value[0]) or (len(value) > 1 and all(map(_is_text, value))))
    if not isinstance(value, dict) or is_message(value):
        return False
    return any(isinstance(value.get(key), list) for key in (*MESSAGE_LISTS, "content"))


def _of_messages(conversations: list[object]) -> bool:
    return not any(isinstance(value, list) and isinstance(value[0], str) for value in conversations)


def _has_digit(key: str) -> bool:
    return any(character.isdigit() for character in key)


def _is_list_of_records(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and is_record(value[0])


def _is_persona_chat(messages: list[object]) -> bool:
    return all(
        isinstance(message, dict)
        and isinstance(message.get("history"), list)
        and isinstance(message.get("candidates"), list)
        for message in messages
    ) and bool(messages)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_like(value: object) -> bool:
    """Whether a value that is not read may be text that the user misses."""
    return (isinstance(value, str) and value.count(" ") > 2) or (isinstance(value, list | dict) and bool(value))
